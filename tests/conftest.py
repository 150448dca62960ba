"""What all tests share: how hypothesis searches, and one thread for arithmetic."""

import os
import signal

import pytest
from hypothesis import settings

# Before anything imports numpy or torch: several test processes share few cores, and sums of one
# thread are the same on every machine.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
# Pictures are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "Agg")

# Started in the background of a script, this process ignores Ctrl-C, and so would what it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: a slow machine is no failure. The blob reproduces a failure elsewhere.
settings.register_profile("default", deadline=None, print_blob=True)
# The same examples every time: a change is judged by itself and not by the luck of its run.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default")
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Lets anybody ask whether p2pfl works with a broker of their own."""
    parser.addoption(
        "--broker-url",
        metavar="URL",
        help="run the transport's tests over this broker, mqtt[s]://[user:password@]host[:port],"
        " instead of those that are started here; only below p2pfl/1/test-",
    )
    parser.addoption(
        "--other-brokers",
        action="store_true",
        help="collect tests/brokers too: brokers that p2pfl does not bring (make test-brokers)",
    )
