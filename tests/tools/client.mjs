// A client that takes its token and its address from the environment, as programs in production do.
import Cloudflare from "cloudflare";

export const account_id = process.env.CLOUDFLARE_ACCOUNT_ID;
export const asked = [];

export function newClient(options = {}) {
  const counted = (url, init) => {
    asked.push(`${init.method} ${new URL(url).pathname}`);
    return fetch(url, init);
  };
  return new Cloudflare({ fetch: counted, ...options });
}

export function show(value) {
  console.log(JSON.stringify(value));
}

export async function all(pages) {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
}
