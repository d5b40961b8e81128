/* A file system without some operations: a library for LD_PRELOAD that refuses them below the folder $POOR_FOLDER.

   $POOR_LACKS names them: files, folders, open (renames of files, of folders, of folders that a process has open),
   links, locks, random (writes before the end of a file). All other calls go to the C library, so this works for any program: Python, Java, the shell. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int lacks(const char *what) {
    const char *given = getenv("POOR_LACKS");
    return given != NULL && strstr(given, what) != NULL;
}

static int inside(const char *path) {
    const char *folder = getenv("POOR_FOLDER");
    return folder != NULL && path != NULL && strncmp(path, folder, strlen(folder)) == 0;
}

/* Whether this process has a folder open. */
static int is_open(const char *path) {
    struct stat wanted, found;
    int held = 0;
    DIR *all = opendir("/proc/self/fd");
    if (all == NULL || stat(path, &wanted) != 0) return 0;
    for (struct dirent *entry; (entry = readdir(all)) != NULL;) {
        int descriptor = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && descriptor != dirfd(all) && fstat(descriptor, &found) == 0)
            held |= found.st_ino == wanted.st_ino && found.st_dev == wanted.st_dev;
    }
    closedir(all);
    return held;
}

static int refused(const char *from, const char *to) {
    struct stat status;
    if (!inside(from) && !inside(to)) return 0;
    if (lstat(from, &status) != 0) return 0; /* the C library reports that */
    if (!S_ISDIR(status.st_mode)) return lacks("files") ? ENOSYS : 0;
    if (lacks("folders")) return EPERM;
    return lacks("open") && is_open(from) ? EBUSY : 0;
}

int rename(const char *from, const char *to) {
    int code = refused(from, to);
    if (code) return errno = code, -1;
    return REAL(rename)(from, to);
}

int renameat(int at, const char *from, int into, const char *to) {
    int code = refused(from, to);
    if (code) return errno = code, -1;
    return REAL(renameat)(at, from, into, to);
}

int renameat2(int at, const char *from, int into, const char *to, unsigned int flags) {
    int code = refused(from, to);
    if (code) return errno = flags ? EINVAL : code, -1;
    return REAL(renameat2)(at, from, into, to, flags);
}

int link(const char *from, const char *to) {
    if (inside(to) && lacks("links")) return errno = ENOTSUP, -1;
    return REAL(link)(from, to);
}

int linkat(int at, const char *from, int into, const char *to, int flags) {
    if (inside(to) && lacks("links")) return errno = ENOTSUP, -1;
    return REAL(linkat)(at, from, into, to, flags);
}

/* The path of an open file, if it is inside the folder. */
static int is_inside(int descriptor) {
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(name, path, sizeof path - 1);
    path[size < 0 ? 0 : size] = 0;
    return inside(path);
}

static int before_end(int descriptor, off_t place) {
    struct stat status;
    if (!lacks("random") || !is_inside(descriptor) || fstat(descriptor, &status) != 0) return 0;
    return S_ISREG(status.st_mode) && place < status.st_size;
}

ssize_t write(int descriptor, const void *content, size_t size) {
    if (before_end(descriptor, lseek(descriptor, 0, SEEK_CUR))) return errno = EOPNOTSUPP, -1;
    return REAL(write)(descriptor, content, size);
}

ssize_t pwrite(int descriptor, const void *content, size_t size, off_t place) {
    if (before_end(descriptor, place)) return errno = EOPNOTSUPP, -1;
    return REAL(pwrite)(descriptor, content, size, place);
}

ssize_t pwrite64(int descriptor, const void *content, size_t size, off64_t place) {
    if (before_end(descriptor, place)) return errno = EOPNOTSUPP, -1;
    return REAL(pwrite64)(descriptor, content, size, place);
}

int flock(int descriptor, int operation) {
    if (is_inside(descriptor) && lacks("locks")) return errno = ENOLCK, -1;
    return REAL(flock)(descriptor, operation);
}
