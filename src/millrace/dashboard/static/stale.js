// Says so when a page can no longer follow the server, rather than let old numbers pass for new ones.
document.addEventListener("htmx:finally:request", (event) => {
  document.getElementById("stale").hidden = event.detail.ctx.response?.status < 400;
});
