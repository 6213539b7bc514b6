"""The numbers of a message: `key = lane << 43 | sequence`, so that the table is in order of lane and arrival."""

LANE_SHIFT = 43  # 2**20 lanes of queues, 2**43 messages: 280 years at 1,000 a second
MAX_LANES = 1 << 20
SEQUENCE_BITS = (1 << LANE_SHIFT) - 1


def keys_of_lane(lane: int) -> tuple[int, int]:
    """Give the key below the first and the one above the last that a lane's messages can have."""
    return lane << LANE_SHIFT, (lane + 1) << LANE_SHIFT
