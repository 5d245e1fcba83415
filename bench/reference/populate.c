/*
 * populate SIZE base|thp|paced: the reference that the stressor is measured
 * against. It asks the kernel for SIZE bytes, all present, in one system call
 * (paced: in batches of 1 MiB, 100 ms apart), and waits to be killed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#define HUGE (2UL << 20)

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	size_t size = strtoul(argv[1], NULL, 10);
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;

	if (strcmp(argv[2], "thp") == 0) {
		char *p = mmap(NULL, size + HUGE, prot, flags | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			fail("mmap");
		p = (char *)(((unsigned long)p + HUGE - 1) & ~(HUGE - 1));
		if (madvise(p, size, MADV_HUGEPAGE) || madvise(p, size, MADV_POPULATE_WRITE))
			fail("madvise");
	} else if (strcmp(argv[2], "paced") == 0) {
		const size_t batch = 1 << 20;
		char *p = mmap(NULL, size, prot, flags | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			fail("mmap");
		for (size_t done = 0; done + batch <= size; done += batch) {
			if (madvise(p + done, batch, MADV_POPULATE_WRITE))
				fail("madvise");
			usleep(100000);
		}
	} else if (mmap(NULL, size, prot, flags | MAP_POPULATE, -1, 0) == MAP_FAILED) {
		fail("mmap");
	}
	for (;;)
		pause();
}
