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
SLOWEST_BYTES_PER_SECOND = 1_000  # of a body that is streamed
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
HEAD_START_SECONDS_MAX = 86_400
DEDUPLICATION_SECONDS = 300  # as SQS has it
DEDUPLICATION_SECONDS_MAX = 86_400
RATE_MESSAGES = 1_000_000  # of a consumer's rate limit, in so many
RATE_SECONDS = 86_400
ORDERING_KEY_CHARACTERS = 128
DEDUPE_KEY_CHARACTERS = 255
HEADERS = 32
HEADER_BYTES = 8 * 1024  # names and values of one message's headers
FORWARDS = 20
TIME_MS_MAX = 2**53 - 1  # the last time that every reader of JSON can hold
REDRIVE_TIMES = 100
REDRIVE_RATE_MIN = 0.001  # messages in a second
REDRIVE_IDS = 1_000  # of one call
REDRIVE_MESSAGES = 1_000_000_000
REDRIVE_RATE_MIN, REDRIVE_RATE_MAX = 0.001, 1_000_000  # messages a second

COORDINATION_KEY_BYTES = 512  # of a lock, a claim, a state; as Cloudflare KV has it for keys
OWNER_BYTES = 512  # who holds a lock or a claim
LOCK_TTL_MS_MAX = 86_400_000
CLAIM_TTL_MS_MAX = 31_536_000_000  # a year; a claim may also have no end
STATE_BYTES = 1_000_000
STATE_VERSIONS = 100  # the last ones of each state are kept
STATE_REMOVED_SECONDS = 86_400  # for so long a removed state is told to those that follow it
FEED_KEEP_ALIVE_SECONDS = 15

KV_VALUE_BYTES = 1_000_000
KV_METADATA_BYTES = 1_024
KV_KEYS_PER_PAGE = 1_000
KV_TTL_SECONDS_MIN = 60

WORKFLOW_NAME_CHARACTERS = 54  # "workflow-" and it are the name of a queue
WORKFLOW_ID_CHARACTERS = 100
WORKFLOW_VALUE_BYTES = 1_000_000  # of params, of the result of a step, of an output
WORKFLOW_RESULTS_BYTES = 16_000_000  # of all steps of an instance: each run reads them
WORKFLOW_STEPS = 10_000
WORKFLOW_STEP_CHARACTERS = 256
WORKFLOW_STEP_SECONDS = 600
WORKFLOW_RETRIES = 10_000
WORKFLOW_SLEEP_SECONDS = 315_360_000  # ten years
WORKFLOW_RUN_SECONDS = 60  # after which a run goes on as another delivery, so that its handler's time begins anew
WORKFLOW_DEATHS = 50  # of the process in the middle of a run
WORKFLOW_KEPT_SECONDS = 2_592_000  # after its end

SECRET_NAME_CHARACTERS = 64
SECRET_BYTES = 64_000
AUDIT_ENTRIES = 1_000  # of one answer

ALERT_RULES = 100  # of an account
ALERT_TARGETS = 10  # of a rule
ALERT_TARGET_CHARACTERS = 512
ALERT_FOR_SECONDS = 86_400
ALERT_WINDOW_SECONDS_MIN, ALERT_WINDOW_SECONDS_MAX = 10, 86_400
ALERT_WINDOW_SECONDS = 300
ALERT_MINIMUM = 1_000_000  # jobs that must have ended before a failure rate is judged

TAIL_BYTES = 1_000_000  # of log lines that wait for one who follows the log
