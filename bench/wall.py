# SPDX-License-Identifier: GPL-2.0
"""make bench-wall: wall-clock time, base against series, boots in turn, with their spread.

No instruction count: the guest's clock follows the host's. Under TCG this is the time
that emulation takes, and with SMP=2 that of its vCPUs waiting for each other, too; with
ACCEL=kvm it is that of the machine. The host should have nothing else to do. One boot gives one sample
of each case, the median of its runs. Results go to build/bench/wall.json.
"""
import json

from bench import kernels, matrix, report
from bench.measure import RESULT
from bench.noise import ALPHA, compare
from bench.programs import program
from bench.steps import Steps
from common.command import EXIT_GUEST, ToolError, build_dir, main, replaced
from common.settings import Parser
from guests.job import size

GUESTS = ("bare", "xen")
ROWS = (("mprotect", "anon-4k", "1,16,512,4096", 1), ("fork", "anon-4k", "512", 1),
	("munmap", "anon-4k", "512", 1))
SMP_ROWS = (("mprotect", "anon-4k", "4096", 2),)


def sample(kernel, name, turn):
	"""Boot @kernel in the guest @name once; return {(bench, case, pages, threads): ns per pte}."""
	smp = size()["smp"]
	job = "\n".join(matrix.perf_commands(ROWS + SMP_ROWS if smp > 1 else ROWS)) + "\n"
	log = f"wall-{kernel}-{name}"
	# On a busy host, the timer may seem dead to a guest that boots.
	guest = kernels.machine(kernel, matrix.GUESTS[name], log, job, [program()], smp=smp)
	done = guest.run(f"{log}-{turn}", timeout=600).require()
	found = {}
	for line in done.lines:
		if match := RESULT.match(line.strip()):
			item = dict(pair.split("=", 1) for pair in match[1].split())
			if item["metric"] == "ns_per_pte":
				key = (item["bench"], item["case"], int(item["pages"]), int(item["threads"]))
				found[key] = float(item["median"])
	if not found:
		raise ToolError(f"no result lines from mprotect_perf: see {done.log}", EXIT_GUEST)
	return found


def verdicts(name, samples):
	"""Return a list of compare() objects; @samples is {kernel: [what sample() returned]}."""
	found = []
	for key in samples["base"][0]:
		values = {k: [s[key] for s in runs if key in s] for k, runs in samples.items()}
		bench, case, pages, threads = key
		found.append({"guest": name, "bench": bench, "case": f"{bench} {case}", "pages": pages,
			      "threads": threads, **compare(values["base"], values["series"]),
			      "samples": values})
	return found


def text(found):
	"""Return the text table of verdicts()."""
	lines = [f"{'guest':<11}{'case':<24}{'pages':>6}{'threads':>8}{'base ns':>10}{'+-':>8}{'series ns':>10}{'+-':>8}"
		 f"{'ratio':>8}{'p':>8}  verdict (p < {ALPHA})"]
	for r in found:
		lines.append(f"{r['guest']:<11}{r['case']:<24}{r['pages']:>6}{r['threads']:>8}{r['base']:>10.1f}"
			     f"{r['base_spread']:>8.1f}{r['series']:>10.1f}{r['series_spread']:>8.1f}"
			     f"{r['series'] / r['base']:>8.3f}{r['p']:>8.4f}  "
			     f"{'change' if r['change'] else 'within the noise'}")
	return "\n".join(lines)


def _main():
	parser = Parser(__doc__)
	parser.setting("GUEST", list(GUESTS), matrix.GUESTS, many=True)
	parser.setting("ROUNDS")
	args = parser.settled()
	chosen = matrix.guests(args.guest)
	samples = {name: {"base": [], "series": []} for name in chosen}
	steps = Steps("wall")
	for name, place in chosen.items():
		for kernel in ("base", "series"):
			steps.add(f"build {kernel} {place.config}", lambda k=kernel, p=place: kernels.prepare(k, p.config))
	for turn in range(1, args.rounds + 1):
		for name in chosen:
			# In turn, and the first of a pair changes, too.
			for kernel in ("base", "series") if turn % 2 else ("series", "base"):
				steps.add(f"{kernel} {name}, boot {turn}", lambda k=kernel, n=name, t=turn:
					  samples[n][k].append(sample(k, n, t)))
	steps.run()
	found = [v for name in chosen for v in verdicts(name, samples[name])]
	folder = build_dir() / "bench"
	with replaced(folder / "wall.json") as tmp:
		tmp.write_text(json.dumps(found, indent=1) + "\n")
	with replaced(folder / "wall.txt") as tmp:
		tmp.write_text(text(found) + "\n")
	print(text(found))
	if (folder / "results.json").is_file():
		report.write()
	return 0


if __name__ == "__main__":
	main(_main)
