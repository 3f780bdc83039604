#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""insn_profile.py - where does every guest instruction go?

Runs a QEMU TCG guest that loops over one workload, executes it one
instruction per translation block for a moment (-singlestep, HMP "log exec"),
and prints how many instructions each function (or, with --addr, each address
of one function) took per unit of work.

The guest prints MARKER on its console and then loops for ever.  A unit is one
execution of --per (a symbol of the map) divided by --div, e.g. one pte of an
mprotect() over 4096 pages:

  bench/insn_profile.py --map System.map --per change_protection --div 4096 \\
	-- qemu-system-x86_64 -accel tcg -cpu max -m 1024 -nographic \\
	   -kernel bzImage -initrd loop.cpio.gz -append console=ttyS0

Addresses below every symbol are reported as "user", those in Xen's range as
"xen", or by name if a second --map names the hypervisor's symbols.
"""
import argparse
import bisect
import collections
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

XEN_LO, XEN_HI = 0xffff800000000000, 0xffff880000000000


class SymbolMap:
	"""Sorted text symbols of one or more System.map files."""

	def __init__(self, paths):
		syms = {}
		for path in paths:
			with open(path) as f:
				for line in f:
					fields = line.split()
					if len(fields) >= 3 and fields[1] in 'tTwW':
						syms.setdefault(int(fields[0], 16), fields[2])
		self.addrs = sorted(syms)
		self.names = [syms[a] for a in self.addrs]
		self.by_name = {n: a for a, n in syms.items()}

	def name(self, addr):
		i = bisect.bisect_right(self.addrs, addr) - 1
		if addr < 1 << 47:
			return 'user'
		if XEN_LO <= addr < XEN_HI and (i < 0 or self.addrs[i] < XEN_LO):
			return 'xen'
		return self.names[i] if i >= 0 else 'unknown'


def hmp(path, command):
	"""Send one command to the human monitor, return what it answers."""
	s = socket.socket(socket.AF_UNIX)
	s.connect(path)
	s.settimeout(20)
	out = b''
	while b'(qemu) ' not in out:
		out += s.recv(4096)
	s.sendall(command.encode() + b'\n')
	out = b''
	while b'(qemu) ' not in out:
		out += s.recv(4096)
	s.close()
	return out.decode(errors='replace')


def locked(vmlinux):
	"""Addresses of instructions that lock the bus, alternatives unpatched."""
	out = subprocess.run(['objdump', '-d', '--no-show-raw-insn', vmlinux],
			     check=True, capture_output=True, text=True).stdout
	insn = re.compile(r'^\s*([0-9a-f]+):\s+(lock |xchg .*\()', re.M)
	return {int(m.group(1), 16) for m in insn.finditer(out)}


def main():
	ap = argparse.ArgumentParser(description=__doc__,
			formatter_class=argparse.RawDescriptionHelpFormatter)
	ap.add_argument('--map', action='append', required=True)
	ap.add_argument('--per', required=True, help='symbol executed once per --div units')
	ap.add_argument('--div', type=float, default=1)
	ap.add_argument('--marker', default='PROFILE-START')
	ap.add_argument('--seconds', type=float, default=2)
	ap.add_argument('--timeout', type=float, default=120)
	ap.add_argument('--addr', metavar='SYMBOL', help='per address within SYMBOL')
	ap.add_argument('--locked', metavar='VMLINUX', help='only locked instructions')
	ap.add_argument('--calls', metavar='SYMBOL', action='append', default=[],
			help='also print how often SYMBOL was entered')
	ap.add_argument('--min', type=float, default=0.05)
	ap.add_argument('qemu', nargs='+')
	args = ap.parse_args()

	tmp = tempfile.mkdtemp()
	mon, log, con = (os.path.join(tmp, n) for n in ('mon', 'log', 'con'))
	cmd = args.qemu + ['-singlestep', '-D', log, '-monitor',
			   'unix:%s,server=on,wait=off' % mon, '-serial', 'file:' + con]
	syms = SymbolMap(args.map)
	with open(os.path.join(tmp, 'out'), 'w') as out:
		vm = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
	try:
		end = time.time() + args.timeout
		while True:
			time.sleep(0.2)
			if os.path.exists(con) and args.marker in open(con, errors='replace').read():
				break
			if vm.poll() is not None or time.time() > end:
				sys.exit('no %s on the console, see %s' % (args.marker, tmp))
		time.sleep(1)
		hmp(mon, 'log exec,nochain')
		time.sleep(args.seconds)
		hmp(mon, 'log none')
	finally:
		vm.kill()
		vm.wait()

	count = collections.Counter()
	trace = re.compile(r'^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/')
	with open(log, errors='replace') as f:
		for line in f:
			m = trace.match(line)
			if m:
				count[int(m.group(1), 16)] += 1
	os.unlink(log)
	entries = {n: count[syms.by_name[n]] for n in args.calls}
	units = count[syms.by_name[args.per]] * args.div
	if not units:
		sys.exit('%s was not executed' % args.per)

	if args.locked:
		addrs = locked(args.locked)
		count = collections.Counter({a: n for a, n in count.items() if a in addrs})
	table = collections.Counter()
	for addr, n in count.items():
		name = syms.name(addr)
		if not args.addr:
			table[name] += n
		elif name == args.addr:
			table['%s+0x%x' % (name, addr - syms.by_name[name])] += n
	rows = sorted(table.items()) if args.addr else table.most_common()
	print('%10.2f  total, per unit of %d' % (sum(count.values()) / units, units))
	for name in args.calls:
		print('%10.5f  calls of %s' % (entries[name] / units, name))
	for name, n in rows:
		if n / units >= args.min:
			print('%10.2f  %s' % (n / units, name))


if __name__ == '__main__':
	main()
