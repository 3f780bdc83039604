// SPDX-License-Identifier: GPL-2.0
/*
 * Threads store pointers to young objects in old ones, while the collector works. What it
 * overlooked has other contents. usage: java Marks ROUNDS
 */
public class Marks {
	static final int SLOTS = 1 << 14, CHANGES = 20000, THREADS = 2;
	static volatile String torn;

	static final class Cell {
		final int slot, generation;
		final int[] check;
		volatile Cell next;

		Cell(int slot, int generation, Cell next) {
			this.slot = slot;
			this.generation = generation;
			this.next = next;
			check = new int[] { slot, generation, slot ^ generation };
		}
	}

	static void check(int slot, Cell first) {
		for (Cell at = first; at != null; at = at.next)
			if (at.slot != slot || at.check[0] != slot ||
			    at.check[1] != at.generation ||
			    at.check[2] != (slot ^ at.generation))
				torn = "slot " + slot;
	}

	static void work(int thread, int rounds) {
		Cell[] slots = new Cell[SLOTS];
		long seed = thread + 1;

		for (int i = 0; i < SLOTS; i++)
			slots[i] = new Cell(i, 0, null);
		for (int round = 1; round <= rounds && torn == null; round++) {
			for (int i = 0; i < CHANGES; i++) {
				seed ^= seed << 13;
				seed ^= seed >>> 7;
				seed ^= seed << 17;
				int slot = (int)(seed >>> 20) & (SLOTS - 1);
				if ((seed & 1) != 0)
					slots[slot].next = new Cell(slot, round, null);
				else
					slots[slot] = new Cell(slot, round,
							       new Cell(slot, round, null));
			}
			for (int i = 0; i < SLOTS; i++)
				check(i, slots[i]);
		}
	}

	public static void main(String[] arguments) throws Exception {
		int rounds = Integer.parseInt(arguments[0]);
		Thread[] threads = new Thread[THREADS];

		for (int i = 0; i < THREADS; i++) {
			int number = i;
			threads[i] = new Thread(() -> work(number, rounds));
			threads[i].start();
		}
		for (Thread thread : threads)
			thread.join();
		long collections = 0;
		for (var bean : java.lang.management.ManagementFactory.getGarbageCollectorMXBeans())
			collections += bean.getCollectionCount();
		System.out.println("marks: " + collections + " collections");
		System.out.println(torn == null ? "marks: whole" : "marks: torn: " + torn);
		System.exit(torn == null ? 0 : 1);
	}
}
