"""The courses that prices and spreads take in injected anomalies: by second, between -1 and 1, 0 at the end."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator


def _course(seconds: int, at: list[float], values: list[float]) -> Floats:
    """Linear between the given shares of the time."""
    return np.interp((np.arange(seconds) + 1) / seconds, at, values)


def _stairs(course: Floats, rng: Rng, mean_seconds: float) -> Floats:
    """The same course in steps at random seconds; the end stays as it is."""
    is_step = rng.random(course.size) < 1.0 / mean_seconds
    is_step[[0, -1]] = True
    last = np.maximum.accumulate(np.where(is_step, np.arange(course.size), 0))
    return np.asarray(course[last])


def jump_and_slow_return(seconds: int, rng: Rng) -> Floats:
    """At once to 1, there for 60 % of the time, straight back."""
    course = _course(seconds, [0.0, 0.03, 0.031, 0.6, 1.0], [0.0, 0.0, 1.0, 1.0, 0.0])
    return np.asarray(rng.choice([-1.0, 1.0]) * course)


def jump_in_steps_and_decay(seconds: int, rng: Rng) -> Floats:
    """In three steps of two seconds, then decaying to a fifth, and back."""
    course = np.exp(-1.6 * np.arange(seconds) / seconds)
    course[:6] = np.repeat([0.4, 0.75, 1.0], 2)
    course[-seconds // 10 :] *= np.linspace(1.0, 0.0, course[-seconds // 10 :].size)
    course[-1] = 0.0
    return np.asarray(rng.choice([-1.0, 1.0]) * course)


def jump_and_stay(seconds: int, rng: Rng) -> Floats:
    """At once to 1, back to 0.85, and away from there within the last twentieth."""
    course = _course(seconds, [0.0, 0.04, 0.041, 0.1, 0.95, 1.0], [0.0, 0.0, 1.0, 0.85, 0.85, 0.0])
    return np.asarray(rng.choice([-1.0, 1.0]) * course)


def crash_even(seconds: int, _: Rng) -> Floats:
    """Straight down and straight up."""
    return -_course(seconds, [0.0, 0.4, 0.9, 1.0], [0.0, 1.0, 0.0, 0.0])


def crash_sudden(seconds: int, _: Rng) -> Floats:
    """Down within a fifteenth of the time, up ever more slowly."""
    down = max(2, seconds // 15)
    back = np.exp(-4.0 * np.arange(seconds - down) / (seconds - down))
    course = np.append(np.linspace(0.0, 1.0, down), (back - back[-1]) / (1.0 - back[-1]))
    return np.asarray(-course)


def crash_in_stairs(seconds: int, rng: Rng) -> Floats:
    """Down in steps, a while at the bottom, up in steps."""
    return _stairs(crash_to_a_floor(seconds), rng, 6.0)


def crash_to_a_floor(seconds: int) -> Floats:
    """Down, a while at the bottom, up."""
    return -_course(seconds, [0.0, 0.35, 0.5, 0.95, 1.0], [0.0, 1.0, 1.0, 0.0, 0.0])


def noise(seconds: int, rng: Rng) -> Floats:
    """A new random place every five seconds."""
    course = np.repeat(np.clip(rng.normal(0.0, 0.5, seconds // 5 + 1), -1, 1), 5)[:seconds]
    course[-1] = 0.0
    return np.asarray(course)


def swinging(seconds: int, rng: Rng) -> Floats:
    """Waves of about twenty seconds, higher and lower."""
    at = np.arange(seconds)
    waves = np.sin(2 * np.pi * at / rng.uniform(16, 24)) * (0.6 + 0.4 * np.sin(2 * np.pi * at / seconds * 3))
    waves[-1] = 0.0
    return np.asarray(waves)


def to_and_fro(seconds: int, rng: Rng) -> Floats:
    """Between two places at random times, in bouts."""
    is_turn = rng.random(seconds) < 1.0 / 6.0
    is_bout = np.repeat(rng.random(seconds // 20 + 1) < 0.75, 20)[:seconds]
    course = np.where(np.cumsum(is_turn) % 2 == 0, 1.0, -1.0) * is_bout
    course[-1] = 0.0
    return np.asarray(course)


def wide(seconds: int, _: Rng) -> Floats:
    """At once wide, straight back at the end."""
    return _course(seconds, [0.0, 0.85, 1.0], [1.0, 1.0, 0.0])


def widening(seconds: int, _: Rng) -> Floats:
    """Ever wider, then back."""
    return _course(seconds, [0.0, 0.5, 0.8, 1.0], [0.3, 1.0, 1.0, 0.0])


def wide_now_and_then(seconds: int, rng: Rng) -> Floats:
    """Wide for some seconds, as before for some."""
    course = np.zeros(seconds)
    at = 0
    while at < seconds:
        stays = int(rng.integers(6, 13))
        course[at : at + stays] = 1.0
        at += stays + int(rng.integers(2, 6))
    course[-1] = 0.0
    return course


def drift_straight(seconds: int, rng: Rng) -> Floats:
    """Straight away, and back in the last sixth."""
    return np.asarray(rng.choice([-1.0, 1.0]) * _course(seconds, [0.0, 0.85, 1.0], [0.0, 1.0, 0.0]))


def drift_smooth(seconds: int, rng: Rng) -> Floats:
    """Slowly, faster, slowly away; smoothly back in the last fifth."""
    course = _course(seconds, [0.0, 0.8, 1.0], [0.0, 1.0, 0.0])
    return np.asarray(rng.choice([-1.0, 1.0]) * 0.5 * (1.0 - np.cos(np.pi * course)))


def drift_in_steps(seconds: int, rng: Rng) -> Floats:
    """Away in steps of about half a minute, and back."""
    return _stairs(drift_straight(seconds, rng), rng, 30.0)


def pump_even(seconds: int, _: Rng) -> Floats:
    """Straight up for 60 % of the time, straight down."""
    return _course(seconds, [0.0, 0.6, 1.0], [0.0, 1.0, 0.0])


def pump_hastening(seconds: int, _: Rng) -> Floats:
    """Up ever faster, down within the last fifth."""
    up = np.expm1(3.0 * np.arange(seconds) / (0.8 * seconds)) / np.expm1(3.0)
    return np.asarray(np.minimum(up, _course(seconds, [0.0, 0.8, 1.0], [1.0, 1.0, 0.0])))


def pump_in_stairs(seconds: int, rng: Rng) -> Floats:
    """Up and down in steps."""
    return _stairs(_course(seconds, [0.0, 0.5, 0.6, 1.0], [0.0, 1.0, 1.0, 0.0]), rng, 12.0)
