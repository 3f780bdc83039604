# SPDX-License-Identifier: GPL-2.0
"""See each kind of broken guest end in its own way, with a real kernel."""
from common.tally import Tally
from guests.job import guest


def check_broken_guests(tally: Tally) -> None:
	"""See each kind of broken guest end in its own way, with a real kernel."""
	for name, want, job, append, timeout in (
			("panic", "warned", "true\n", "rdinit=/bin/false", 60),
			("warning", "warned",
			 "echo 'WARNING: of a test' > /dev/kmsg; sleep 100\n", "", 60),
			("hang", "hung", "sleep 1000\n", "", 12),
			("failing job", "failed", "exit 5\n", "", 60)):
		with tally.step(f"guest: {name} is told from success"):
			machine = guest("bare", "series", "fault", job, append=append,
					build_it=False)
			result = machine.run(f"fault-{name.replace(' ', '-')}", timeout=timeout)
			assert result.status == want, \
				f"{result.status} ({result.reason}), wanted {want}"
