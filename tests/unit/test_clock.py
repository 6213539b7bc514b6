from millrace.clock import SlewedClock, Stamp, iso_milliseconds, starting_time_ms

HOUR = 3_600_000


class Machine:
    """A machine whose wall clock somebody sets; its uptime nobody can."""

    def __init__(self):
        self.uptime_ms, self.wall_ms = 50_000, 1_700_000_000_000

    def pass_ms(self, milliseconds):
        self.uptime_ms += milliseconds
        self.wall_ms += milliseconds

    def clock(self):
        return SlewedClock(self.wall_ms, lambda: self.uptime_ms, lambda: self.wall_ms)


def test_time_passes_as_the_uptime_does():
    machine = Machine()
    clock = machine.clock()
    began = clock()

    machine.pass_ms(60_000)

    assert clock() - began == 60_000


def test_a_wall_clock_set_far_forward_or_back_shifts_no_delay():
    for jump in (5_000, -5_000, 3 * HOUR, -3 * HOUR, 14 * 24 * HOUR, -14 * 24 * HOUR):
        machine = Machine()
        clock = machine.clock()
        began = clock()
        machine.wall_ms += jump

        machine.pass_ms(60_000)

        assert abs(clock() - began - 60_000) <= 60


def test_the_clock_leans_towards_the_wall_and_arrives():
    machine = Machine()
    clock = machine.clock()
    machine.wall_ms += 1000

    for _ in range(2000):
        machine.pass_ms(1000)
        clock()

    assert clock() == machine.wall_ms


def test_the_clock_never_goes_back():
    machine = Machine()
    clock = machine.clock()
    seen = [clock()]
    for step in (-HOUR, HOUR, -1, 5, -9 * HOUR):
        machine.wall_ms += step
        machine.pass_ms(3)
        seen.append(clock())

    assert seen == sorted(seen)


def test_a_restart_in_the_same_boot_goes_by_the_uptime():
    last = Stamp(now_ms=1000, boot_id="boot", uptime_ms=400)

    assert starting_time_ms(last, wall_ms=1000 + 14 * 24 * HOUR, boot="boot", uptime=900) == 1500
    assert starting_time_ms(last, wall_ms=0, boot="boot", uptime=900) == 1500


def test_a_restart_after_a_reboot_goes_by_the_wall_but_not_back():
    last = Stamp(now_ms=1000, boot_id="boot", uptime_ms=400)

    assert starting_time_ms(last, wall_ms=5000, boot="next", uptime=10) == 5000
    assert starting_time_ms(last, wall_ms=10, boot="next", uptime=10) == 1000
    assert starting_time_ms(last, wall_ms=5000, boot="", uptime=900) == 5000


def test_a_new_store_starts_at_the_wall_clock():
    assert starting_time_ms(None, wall_ms=77, boot="boot", uptime=1) == 77


def test_times_are_written_with_milliseconds():
    assert iso_milliseconds(1_762_778_096_789) == "2025-11-10T12:34:56.789Z"
