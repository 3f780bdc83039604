// SPDX-License-Identifier: GPL-2.0
// Old objects get pointers to young ones, while V8 collects, and functions are made, compiled
// to code, and thrown away: V8 changes the protection of pages with code. What was overlooked
// has other contents, or code that computes something else. node --expose-gc marks.js
'use strict';

const SLOTS = 8192, CHANGES = 4096, ROUNDS = 40, FUNCTIONS = 20, CALLS = 3000;
let seed = 1;

function random(limit) {
	seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
	return (seed >>> 8) % limit;
}

function cell(slot, generation, next) {
	return { slot, generation, next, check: `${slot}/${generation}`, numbers: [slot, generation] };
}

function leave(text, code) {
	console.log(`marks: ${text}`);
	process.exit(code);
}

function check(slot, first) {
	for (let at = first; at; at = at.next) {
		if (at.slot !== slot || at.check !== `${slot}/${at.generation}` ||
		    at.numbers[0] !== slot || at.numbers[1] !== at.generation)
			leave(`torn: slot ${slot}`, 1);
	}
}

function compile(round) {
	for (let i = 0; i < FUNCTIONS; i++) {
		const add = round * FUNCTIONS + i;
		const made = new Function('n', `let s = ${add}; for (let i = 0; i < 4; i++) s += n ^ i; return s;`);
		let sum = 0;

		for (let n = 0; n < CALLS; n++)
			sum += made(n);
		const want = CALLS * add + 4 * (CALLS - 1) * CALLS / 2;
		// CALLS is a multiple of 4: n ^ i only reorders each four of them.
		if (sum !== want)
			leave(`a function of round ${round} is wrong: ${sum}, not ${want}`, 1);
	}
}

const slots = Array.from({ length: SLOTS }, (_, i) => cell(i, 0, null));
global.gc();
for (let round = 1; round <= ROUNDS; round++) {
	for (let i = 0; i < CHANGES; i++) {
		const slot = random(SLOTS), old = slots[slot];

		if (random(2))
			old.next = cell(slot, round, null);
		else
			slots[slot] = cell(slot, round, cell(slot, round, null));
	}
	compile(round);
	global.gc(round % 8 ? { type: 'minor' } : undefined);
	if (round % 8 === 0)
		slots.forEach((first, slot) => check(slot, first));
}
slots.forEach((first, slot) => check(slot, first));
leave('whole', 0);
