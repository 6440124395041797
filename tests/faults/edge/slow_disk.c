/* Preloaded into a node: its flushes of the log of entries take as many milliseconds as the file SLOW_DISK says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void stall(int fd) {
    const char *control = getenv("SLOW_DISK");
    char link[64], path[4096];
    long ms = 0;
    if (control == NULL) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    if (strstr(path, "entries.db") == NULL) return;
    FILE *file = fopen(control, "r");
    if (file == NULL) return;
    if (fscanf(file, "%ld", &ms) == 1 && ms > 0) {
        struct timespec pause = {ms / 1000, (ms % 1000) * 1000000};
        nanosleep(&pause, NULL);
    }
    fclose(file);
}

int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    stall(fd);
    return real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    stall(fd);
    return real(fd);
}
