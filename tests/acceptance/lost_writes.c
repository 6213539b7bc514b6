/* A disk whose power can be cut: preloaded into a process, it keeps beside the real files what was synced.

   LOST_WRITES_DIR is the directory watched (one level, absolute), LOST_WRITES_MIRROR an empty one on the same
   file system. There lie, when the process is gone,
     <inode>.synced  the file as of its last fsync or fdatasync,
     <inode>.live    the file with every write; a link, which also keeps the inode from being used again,
     names           "<inode> <name>" a line, as of the last sync of the directory.
   Maps are not watched: of SQLite's files only the -shm is written so, and nothing in it has to last. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FDS 65536
#define FILES 4096
#define PART 65536

enum { ELSEWHERE = 0, DIRECTORY = 1, FIRST_FILE = 2 };

static struct file {
    ino_t inode;
    off_t dirty_from, dirty_until;
} files[FILES];
static int file_count = FIRST_FILE;
static int place_of_fd[FDS];
static const char *directory, *mirror;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);

static void fail(const char *what) {
    perror(what);
    abort();
}

static void mirror_path(char *path, ino_t inode, const char *kind) {
    snprintf(path, PATH_MAX, "%s/%llu.%s", mirror, (unsigned long long)inode, kind);
}

static int is_inside(const char *path) {
    size_t length = strlen(directory);
    return !strncmp(path, directory, length) && path[length] == '/' && path[length + 1] && !strchr(path + length + 1, '/');
}

static int is_directory(const char *path) {
    size_t length = strlen(directory);
    return !strncmp(path, directory, length) && (!path[length] || !strcmp(path + length, "/"));
}

/* Give the place of a file in the table; a file that was never seen is linked, so that its inode stays its own. */
static int place_of(ino_t inode, const char *path) {
    char live[PATH_MAX];
    for (int place = FIRST_FILE; place < file_count; place++)
        if (files[place].inode == inode) return place;
    if (file_count == FILES) abort();
    mirror_path(live, inode, "live");
    if (link(path, live)) fail("lost_writes: link");
    files[file_count] = (struct file){inode, 0, 0};
    return file_count++;
}

static void touch(int fd, off_t from, off_t until) {
    struct file *file = &files[place_of_fd[fd]];
    if (file->dirty_from == file->dirty_until) {
        file->dirty_from = from;
        file->dirty_until = until;
        return;
    }
    if (from < file->dirty_from) file->dirty_from = from;
    if (until > file->dirty_until) file->dirty_until = until;
}

static void copy(int from_fd, int to_fd, off_t from, off_t until) {
    static char part[PART];
    while (from < until) {
        size_t wanted = until - from < PART ? (size_t)(until - from) : PART;
        ssize_t got = pread(from_fd, part, wanted, from);
        if (got < 0) fail("lost_writes: pread");
        if (got == 0) return;
        if (real_pwrite(to_fd, part, got, from) != got) fail("lost_writes: pwrite");
        from += got;
    }
}

static void sync_file(struct file *file) {
    char live[PATH_MAX], synced[PATH_MAX];
    struct stat status;
    mirror_path(live, file->inode, "live");
    mirror_path(synced, file->inode, "synced");
    int from_fd = real_open(live, O_RDONLY | O_CLOEXEC);
    int to_fd = real_open(synced, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (from_fd < 0 || to_fd < 0 || fstat(from_fd, &status)) fail("lost_writes: open");
    copy(from_fd, to_fd, file->dirty_from, file->dirty_until);
    if (real_ftruncate(to_fd, status.st_size)) fail("lost_writes: ftruncate");
    real_close(from_fd);
    real_close(to_fd);
    file->dirty_from = file->dirty_until = 0;
}

static void sync_names(void) {
    char names[PATH_MAX], unfinished[PATH_MAX], path[PATH_MAX];
    struct dirent *entry;
    struct stat status;
    snprintf(names, sizeof names, "%s/names", mirror);
    snprintf(unfinished, sizeof unfinished, "%s/names.new", mirror);
    FILE *list = fopen(unfinished, "we");
    DIR *entries = opendir(directory);
    if (!list || !entries) fail("lost_writes: names");
    while ((entry = readdir(entries))) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (stat(path, &status) || !S_ISREG(status.st_mode)) continue;
        fprintf(list, "%llu %s\n", (unsigned long long)status.st_ino, entry->d_name);
    }
    closedir(entries);
    if (fclose(list) || rename(unfinished, names)) fail("lost_writes: names");
}

/* What lies there at the start is on the disk. */
static void adopt_files(void) {
    char path[PATH_MAX];
    struct dirent *entry;
    struct stat status;
    DIR *entries = opendir(directory);
    if (!entries) fail("lost_writes: LOST_WRITES_DIR");
    while ((entry = readdir(entries))) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (stat(path, &status) || !S_ISREG(status.st_mode)) continue;
        struct file *file = &files[place_of(status.st_ino, path)];
        file->dirty_until = status.st_size;
        sync_file(file);
    }
    closedir(entries);
    sync_names();
}

__attribute__((constructor)) static void start(void) {
    char names[PATH_MAX];
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    mirror = getenv("LOST_WRITES_MIRROR");
    const char *watched = getenv("LOST_WRITES_DIR");
    if (!mirror || !watched) return;
    snprintf(names, sizeof names, "%s/names", mirror);
    if (!access(names, F_OK)) return; /* a child of the process we watch */
    directory = watched;
    adopt_files();
}

static int opened(int fd, const char *path) {
    struct stat status;
    if (fd < 0 || fd >= FDS || !directory) return fd;
    place_of_fd[fd] = ELSEWHERE;
    if (is_directory(path)) place_of_fd[fd] = DIRECTORY;
    if (!is_inside(path) || fstat(fd, &status) || !S_ISREG(status.st_mode)) return fd;
    pthread_mutex_lock(&lock);
    place_of_fd[fd] = place_of(status.st_ino, path);
    pthread_mutex_unlock(&lock);
    return fd;
}

static int mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, int) : 0;
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    int mode = mode_of(flags, arguments);
    va_end(arguments);
    if (!real_open) real_open = dlsym(RTLD_NEXT, "open64");
    return opened(real_open(path, flags, mode), path);
}

int open(const char *path, int flags, ...) __attribute__((alias("open64")));

int openat64(int at, const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    int mode = mode_of(flags, arguments);
    va_end(arguments);
    int (*real_openat)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat64");
    return opened(real_openat(at, path, flags, mode), path);
}

int openat(int at, const char *path, int flags, ...) __attribute__((alias("openat64")));

static int is_watched(int fd) {
    return directory && fd >= 0 && fd < FDS && place_of_fd[fd] >= FIRST_FILE;
}

int close(int fd) {
    if (!real_close) real_close = dlsym(RTLD_NEXT, "close");
    if (fd >= 0 && fd < FDS) place_of_fd[fd] = ELSEWHERE;
    return real_close(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) {
    if (!is_watched(fd)) return real_pwrite(fd, bytes, count, offset);
    pthread_mutex_lock(&lock);
    ssize_t written = real_pwrite(fd, bytes, count, offset);
    if (written > 0) touch(fd, offset, offset + written);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) __attribute__((alias("pwrite64")));

ssize_t write(int fd, const void *bytes, size_t count) {
    if (!real_write) real_write = dlsym(RTLD_NEXT, "write");
    if (!is_watched(fd)) return real_write(fd, bytes, count);
    pthread_mutex_lock(&lock);
    ssize_t written = real_write(fd, bytes, count);
    off_t until = lseek(fd, 0, SEEK_CUR);
    if (written > 0) touch(fd, until - written, until);
    pthread_mutex_unlock(&lock);
    return written;
}

int ftruncate64(int fd, off_t size) {
    struct stat before;
    if (!is_watched(fd)) return real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    if (fstat(fd, &before)) fail("lost_writes: fstat");
    int result = real_ftruncate(fd, size);
    if (!result && before.st_size != size)
        touch(fd, size < before.st_size ? size : before.st_size, size < before.st_size ? before.st_size : size);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t size) __attribute__((alias("ftruncate64")));

static void synced(int fd) {
    if (!directory || fd < 0 || fd >= FDS || place_of_fd[fd] == ELSEWHERE) return;
    pthread_mutex_lock(&lock);
    if (place_of_fd[fd] == DIRECTORY)
        sync_names();
    else
        sync_file(&files[place_of_fd[fd]]);
    pthread_mutex_unlock(&lock);
}

int fsync(int fd) {
    synced(fd);
    return real_fsync(fd);
}

int fdatasync(int fd) {
    synced(fd);
    return real_fdatasync(fd);
}
