// The init of a virtual machine that provokes one OOM, as /script says, and
// powers off. Each line of the script is one of
//
//	cgroup PATH LIMIT_MIB GROUP      LIMIT_MIB 0: none; GROUP 1: memory.oom.group
//	run PATH NAME ADJ ANON_MIB FILE_MIB PRESS
//
// FILE_MIB is written to a memfd. The process with PRESS 1 takes memory when all
// of them hold theirs. PATH / is the root. Static, single-threaded processes.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const long MIB = 1 << 20;
static int version = 2;

static void put(const char *file, const char *text) {
	int fd = open(file, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		printf("guest: write %s to %s: %m\n", text, file);
	close(fd);
}

static void cgroup(const char *path, int limit, int group) {
	char file[512], text[32];
	snprintf(file, sizeof file, "/cg%s", path);
	for (char *p = file + 4; (p = strchr(p, '/')); p++) { // the parents, and their controllers
		*p = 0;
		mkdir(file, 0755);
		if (version == 2) {
			strcpy(p, "/cgroup.subtree_control");
			put(file, "+memory");
			snprintf(file, sizeof file, "/cg%s", path);
		}
		*p = '/';
	}
	mkdir(file, 0755);
	if (limit) {
		snprintf(file, sizeof file, "/cg%s/%s", path, version == 2 ? "memory.max" : "memory.limit_in_bytes");
		snprintf(text, sizeof text, "%ld", limit * MIB);
		put(file, text);
	}
	if (group) {
		snprintf(file, sizeof file, "/cg%s/memory.oom.group", path);
		put(file, "1");
	}
}

static void take(long n) {
	char *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(p, n, MADV_NOHUGEPAGE);
	for (long i = 0; i < n; i += 4096)
		p[i] = 1;
}

static void run(const char *path, const char *name, const char *adj, int anon, int file, int press, int ready, int go) {
	char text[512];
	if (fork())
		return;
	snprintf(text, sizeof text, "/cg%s/cgroup.procs", strcmp(path, "/") ? path : "");
	put(text, "0");
	put("/proc/self/oom_score_adj", adj);
	prctl(PR_SET_NAME, name);
	if (anon)
		take(anon * MIB);
	if (file) {
		int fd = memfd_create("file", 0);
		static char block[1 << 20];
		memset(block, 1, sizeof block);
		for (int i = 0; i < file; i++)
			if (write(fd, block, sizeof block) < 0)
				_exit(1);
	}
	if (write(ready, "r", 1) < 0)
		_exit(1);
	if (press) {
		if (read(go, text, 1) < 0)
			_exit(1);
		for (;;)
			take(MIB);
	}
	for (;;)
		pause();
}

int main(void) {
	char line[512], path[256], name[32], adj[16];
	int a, b, c, ready[2], go[2], started = 0;
	mkdir("/proc", 0755), mount("proc", "/proc", "proc", 0, 0);
	mkdir("/cg", 0755);
	if (getenv("cgroup") && *getenv("cgroup") == '1') { // from the kernel's command line
		version = 1;
		mount("memory", "/cg", "cgroup", 0, "memory");
		put("/cg/memory.use_hierarchy", "1");
	} else {
		mount("none", "/cg", "cgroup2", 0, 0);
		put("/cg/cgroup.subtree_control", "+memory");
	}
	setvbuf(stdout, 0, _IONBF, 0);
	if (pipe(ready) || pipe(go))
		return 1;
	FILE *script = fopen("/script", "r");
	while (script && fgets(line, sizeof line, script)) {
		if (sscanf(line, "cgroup %255s %d %d", path, &a, &b) == 3)
			cgroup(path, a, b);
		else if (sscanf(line, "run %255s %31s %15s %d %d %d", path, name, adj, &a, &b, &c) == 6)
			run(path, name, adj, a, b, c, ready[1], go[0]), started++;
	}
	for (; started; started--)
		if (read(ready[0], line, 1) < 0)
			return 1;
	if (write(go[1], "gggggggg", 8) < 0)
		return 1;
	if (wait(&a) > 0 && WIFSIGNALED(a))
		usleep(300000); // the others of a group, and the reaper
	reboot(RB_POWER_OFF);
	return 1;
}
