"""Every documented number of the product, with its unit in the name.

Sizes count 1 KB as 1000 bytes, as Cloudflare does. `docs/cloudflare.md` says which numbers are
Cloudflare's and which are ours.
"""

MESSAGE_BYTES = 128_000
BATCH_MESSAGES = 100
BATCH_BYTES = 256_000
REQUEST_BYTES = 4 * 1024 * 1024
HEAD_BYTES = 64 * 1024
SMALL_REQUEST_BYTES = 64 * 1024  # for routes that take no body
JSON_DEPTH = 256
REQUEST_SECONDS = 30  # a body that has not arrived by then is given up

DELAY_SECONDS = 86_400
RETENTION_SECONDS_MIN = 60
RETENTION_SECONDS_MAX = 1_209_600
RETENTION_SECONDS = 345_600

QUEUE_NAME_CHARACTERS = 63
ACCOUNT_ID_CHARACTERS = 32

CONSUMER_BATCH_SIZE = 100
WORKER_BATCH_SIZE = 10
PULL_BATCH_SIZE = 5
MAX_RETRIES = 100
RETRIES = 3
MAX_ATTEMPTS = 100
BACKOFF_FACTOR = 100
MAX_WAIT_TIME_MS = 60_000
WAIT_TIME_MS = 5_000
MAX_CONCURRENCY = 250
VISIBILITY_TIMEOUT_MS_MAX = 43_200_000
VISIBILITY_TIMEOUT_MS = 30_000
PUSH_URL_CHARACTERS = 2_048
PUSH_SECRET_BYTES_MIN = 24
PUSH_SECRET_BYTES_MAX = 64

PUSH_LEASE_MS = 60_000  # extended while the handler runs, so a killed handler's messages are back in a minute
HANDLER_SECONDS = 900
PULL_WAIT_SECONDS = 20  # a pull may ask to be held so long

IDEMPOTENCY_KEY_CHARACTERS = 255
IDEMPOTENCY_SECONDS = 86_400  # for so long after the first send a repeat is told from a new one

PEEK_MESSAGES = 100
REASON_CHARACTERS = 500
QUEUES_PER_PAGE = 100
PAGE = 1_000_000_000
PER_PAGE = 1_000
SUBSCRIPTIONS_PER_PAGE = 20

ROWS_PER_TRANSACTION = 1_000  # the single writer never stops for longer than this many rows take

HEAD_START_SECONDS = 600  # of each level of priority; longer waits weigh more than priority
DEDUPLICATION_SECONDS = 300  # as SQS has it
ORDERING_KEY_CHARACTERS = 128
DEDUPE_KEY_CHARACTERS = 255
HEADERS = 32
HEADER_BYTES = 8 * 1024  # names and values of one message's headers
FORWARDS = 20
