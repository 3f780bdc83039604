# SPDX-License-Identifier: GPL-2.0
"""What every script of the tooling shares: errors, logged commands, atomic files.

Errors that a person can mend are raised as ToolError: one line that says what
is wrong and what to do, and an exit code that tells the kinds apart.
"""
import contextlib
import ctypes
import errno
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NoReturn, overload

ROOT = Path(__file__).resolve().parent.parent
StrPath = str | Path
Environment = Mapping[str, str]

# The variables of the make that started us are ours, not those of a kernel build.
for _name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
	os.environ.pop(_name, None)

# One exit code per kind of failure (FAILURES.md lists them).
EXIT_TESTS = 1		# tests ran and some failed
EXIT_USAGE = 2		# bad input: unknown value, wrong tree
EXIT_MISSING = 3	# a tool or package is missing
EXIT_PATCH = 4		# a patch does not apply
EXIT_CONFIG = 5		# a requested config option did not survive
EXIT_BUILD = 6		# a build failed
EXIT_GUEST = 7		# a guest panicked, warned or ended without its marker
EXIT_HANG = 8		# a guest used up its CPU time, or hung without using any
EXIT_FETCH = 9		# a download failed or did not verify
EXIT_UNSAVED = 10	# build/linux holds work that make refresh has not taken back


# What the system says no to, and a person can see to.
MENDABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


class ToolError(Exception):
	"""A failure with a one-line remedy; @code becomes the exit status."""

	def __init__(self, message: str, code: int = EXIT_USAGE) -> None:
		super().__init__(message)
		self.code = code


def build_dir() -> Path:
	"""Return the build directory (O=, default build/), made if need be.

	Raises ToolError if it can't be made.
	"""
	path = Path(os.environ.get("O") or ROOT / "build").resolve()
	try:
		path.mkdir(parents=True, exist_ok=True)
	except OSError as error:
		raise ToolError(f"O={path} can't be made ({error.strerror}): "
				"name a directory that can") from error
	return path


def jobs() -> str:
	"""Return how many make jobs to run, as text: J=, else the number of CPUs."""
	return os.environ.get("J") or str(os.cpu_count() or 1)


def verbose() -> bool:
	"""Return whether V=1 asks for the commands and their output on the terminal."""
	return os.environ.get("V", "0") not in ("", "0")


_last = {"said": time.monotonic()}	# when a line was last printed


def say(message: object) -> None:
	"""Print a progress line; stdout is for results, so it goes to stderr."""
	_last["said"] = time.monotonic()
	print(f"  {message}", file=sys.stderr, flush=True)


SPEAK_EVERY = 60.0	# seconds, where there is no terminal
_context = ""	# shown before each line of progress()


def set_context(text: str) -> None:
	"""Set what progress() shows first, such as "[3/12, 40 s] base xen"; "" for nothing."""
	global _context
	_context = text


def progress(text: str) -> None:
	"""Show what runs now: in one line of a terminal, else by a line every minute.

	What runs for long has to call it at least as often. Nothing is shown if V=1 shows all.
	"""
	if verbose():
		return
	line = f"  {_context} {text.strip()}" if _context and text else text
	if sys.stderr.isatty():
		width = shutil.get_terminal_size().columns - 1
		print(f"\r\033[K{line.expandtabs()[:width]}", end="", file=sys.stderr, flush=True)
	elif text and time.monotonic() - _last["said"] >= SPEAK_EVERY:
		say(f"{time.strftime('%H:%M')}  {line.strip()[:120]}")


def log_command(argv: Iterable[StrPath], cwd: StrPath | None = None,
		env: Environment | None = None) -> None:
	"""Append a command, shell-quoted, to build/log/commands.log; echo it if V=1."""
	extra = [f"{k}={v}" for k, v in (env or {}).items()]
	line = shlex.join([*(["env", *extra] if extra else []), *map(str, argv)])
	if cwd:
		line = f"(cd {shlex.quote(str(cwd))} && {line})"
	_append(line)
	if verbose():
		print(f"+ {line}", file=sys.stderr, flush=True)


def log_note(text: str) -> None:
	"""Append to commands.log, as a comment, what is done without a command; echo it if V=1."""
	_append(f"# {text}")
	if verbose():
		print(f"# {text}", file=sys.stderr, flush=True)


def _append(line: str) -> None:
	log = build_dir() / "log" / "commands.log"
	log.parent.mkdir(exist_ok=True)
	with log.open("a") as f:
		f.write(f"{time.strftime('%H:%M:%S')} {line}\n")


@overload
def run(argv: Sequence[StrPath], *, cwd: StrPath | None = ..., env: Environment | None = ...,
	check: bool = ..., stdin: str | None = ..., text: Literal[True] = ...,
	log: StrPath | None = ...) -> subprocess.CompletedProcess[str]:
	...


@overload
def run(argv: Sequence[StrPath], *, cwd: StrPath | None = ..., env: Environment | None = ...,
	check: bool = ..., stdin: bytes | None = ..., text: Literal[False],
	log: StrPath | None = ...) -> subprocess.CompletedProcess[bytes]:
	...


def run(argv: Sequence[StrPath], *, cwd: StrPath | None = None, env: Environment | None = None,
	check: bool = True, stdin: str | bytes | None = None, text: bool = True,
	log: StrPath | None = None) -> subprocess.CompletedProcess[Any]:
	"""Run a command and return its CompletedProcess with stdout and stderr.

	@env is added to the environment. @stdin, stdout and stderr are bytes if @text
	is False. With @log, output goes to that file (and to the terminal too if V=1)
	instead of being returned. Raises ToolError if the program is missing, or if it
	fails and @check is set.
	"""
	command = [str(a) for a in argv]
	program = command[0]
	log_command(command, cwd, env)
	# A name with a slash is relative to @cwd, as subprocess has it.
	if not shutil.which(str(Path(cwd or ".") / program) if "/" in program else program):
		raise ToolError(f"{program} not found: run 'make deps'", EXIT_MISSING)
	full_env = {**os.environ, **env} if env else None
	if log:
		return _run_logged(command, cwd, full_env, check, Path(log))
	done = _run_captured(command, cwd, full_env, stdin, text)
	if check and done.returncode:
		out = done.stderr or done.stdout
		out = out if text else out.decode(errors="replace")
		tail = out.strip().splitlines()[-1:] or ["no output"]
		raise ToolError(f"'{shlex.join(command[:4])} ...' failed "
				f"({done.returncode}): {tail[0]}", EXIT_BUILD)
	return done


def _run_captured(argv: list[str], cwd: StrPath | None, env: Environment | None,
		  stdin: str | bytes | None, text: bool) -> subprocess.CompletedProcess[Any]:
	start, shown = time.monotonic(), False
	with tempfile.TemporaryFile() as source:
		# Not by a pipe: communicate() forgets what it did not write before a timeout.
		source.write(stdin.encode() if isinstance(stdin, str) else stdin or b"")
		source.seek(0)
		proc = subprocess.Popen(argv, cwd=cwd, env=env, text=text, stdin=source,
					stdout=subprocess.PIPE, stderr=subprocess.PIPE)
	with proc:
		while True:
			try:
				out, err = proc.communicate(timeout=SPEAK_EVERY / 4)
				break
			except subprocess.TimeoutExpired:
				shown = True
				progress(f"    {time.monotonic() - start:4.0f} s  "
					 f"{shlex.join(argv[:4])} ...")
			except BaseException:
				proc.kill()
				raise
	if shown:
		progress("")
	return subprocess.CompletedProcess(argv, proc.returncode, out, err)


def _run_logged(argv: list[str], cwd: StrPath | None, env: Environment | None, check: bool,
		log: Path) -> subprocess.CompletedProcess[str]:
	log.parent.mkdir(parents=True, exist_ok=True)
	with log.open("a") as f:
		f.write(f"$ {shlex.join(argv)}\n")
		f.flush()
		if verbose():
			with subprocess.Popen(argv, cwd=cwd, env=env, text=True,
					      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
					      stderr=subprocess.STDOUT) as proc:
				assert proc.stdout
				for line in proc.stdout:
					f.write(line)
					sys.stderr.write(line)
		else:
			with subprocess.Popen(argv, cwd=cwd, env=env, text=True,
					      stdin=subprocess.DEVNULL, stdout=f,
					      stderr=subprocess.STDOUT) as proc:
				_wait_with_progress(proc, log)
	done: subprocess.CompletedProcess[str] = subprocess.CompletedProcess(argv, proc.returncode)
	if check and done.returncode:
		errors = [l for l in log.read_text(errors="replace").splitlines()
			  if "error" in l.lower()][:5]
		for line in errors:
			print(f"    {line}", file=sys.stderr)
		raise ToolError(f"{argv[0]} failed ({done.returncode}): see {log}", EXIT_BUILD)
	return done


def _wait_with_progress(proc: subprocess.Popen[str], log: Path) -> None:
	"""Wait for @proc, showing the last line of its log and the time so far."""
	start = time.monotonic()
	while True:
		try:
			proc.wait(1)
			break
		except subprocess.TimeoutExpired:
			with log.open("rb") as f:
				f.seek(max(0, log.stat().st_size - 300))
				last = f.read().decode(errors="replace").strip().rpartition("\n")[2]
			progress(f"    {time.monotonic() - start:4.0f} s  "
				 f"{log.stem}: {last.strip()}")
		except BaseException:
			proc.terminate()
			raise
	progress("")


_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
	"""For Popen's preexec_fn: have the kernel kill this child when its parent ends, in any way.

	An interruption between fork and the parent's try block leaves nothing behind.
	"""
	_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def replaced(path: StrPath) -> Iterator[Path]:
	"""Yield a temporary sibling of @path; it takes @path's place if all goes well.

	On any exception the temporary is removed and @path is as it was.
	"""
	path = Path(path)
	path.parent.mkdir(parents=True, exist_ok=True)
	tmp = path.with_name(f".{path.name}.new")
	remove(tmp)
	try:
		yield tmp
		if path.is_dir() and not path.is_symlink():
			old = path.with_name(f".{path.name}.old")
			remove(old)
			path.rename(old)
			tmp.rename(path)
			remove(old)
		else:
			tmp.replace(path)
	finally:
		remove(tmp)


@contextlib.contextmanager
def locked(path: StrPath) -> Iterator[None]:
	"""Hold the lock file @path; says so if another process has it, and waits."""
	Path(path).parent.mkdir(parents=True, exist_ok=True)
	with Path(path).open("w", encoding="ascii") as lock:
		try:
			fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
		except OSError:
			say(f"another make uses {Path(path).parent}: waiting for its end")
			fcntl.flock(lock, fcntl.LOCK_EX)
		yield


def remove(path: StrPath) -> None:
	"""Remove a file or a directory tree if it is there."""
	path = Path(path)
	if path.is_dir() and not path.is_symlink():
		shutil.rmtree(path)
	else:
		path.unlink(missing_ok=True)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
	raise KeyboardInterrupt


def main(function: Callable[[], int]) -> NoReturn:
	"""Call @function as a program: ToolError, no space and no permission become one line.

	SIGTERM and SIGHUP end it as Ctrl-C does: guests and builds are ended with it.
	"""
	for number in (signal.SIGTERM, signal.SIGHUP):
		if signal.getsignal(number) != signal.SIG_IGN:	# nohup
			signal.signal(number, _interrupt)
	try:
		sys.exit(function())
	except ToolError as error:
		print(f"error: {error}", file=sys.stderr)
		sys.exit(error.code)
	except OSError as error:
		if error.errno not in MENDABLE:
			raise
		where = f"{error.filename}: " if error.filename else ""
		print(f"error: {where}{error.strerror}: see to that and start it again",
		      file=sys.stderr)
		sys.exit(EXIT_USAGE)
	except KeyboardInterrupt:
		print("interrupted", file=sys.stderr)
		sys.exit(130)
