/* cut_vfs: a disk for SQLite whose power can be cut, and which can be full or fail.
 *
 * It wraps the default VFS and becomes the default. What was written goes to the real file at once, and for
 * each sector that was not synced since, what it held before is kept. When the power is cut every call fails;
 * cut_restore then takes the unsynced sectors back, all or some, as a disk loses them. Writes under way are
 * torn. Names of files are taken to be on the disk at once. Threads: any. */
#ifndef TESTS_CUT_VFS_H
#define TESTS_CUT_VFS_H

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CUT_SECTOR = 512, CUT_PATH = 512, CUT_CHAINS = 4096 };

typedef enum cut_fault {
    CUT_POWER, /* that call, and all after it */
    CUT_FULL,  /* writes and what else needs room */
    CUT_BAD    /* writes and syncs */
} cut_fault;

/* A sector as it is on the disk. */
typedef struct cut_sector {
    struct cut_sector *next;
    int64_t number;
    unsigned char bytes[CUT_SECTOR];
} cut_sector;

typedef struct cut_disk_file {
    struct cut_disk_file *next;
    char path[CUT_PATH];
    int64_t synced_bytes;
    cut_sector *chains[CUT_CHAINS];
} cut_disk_file;

typedef struct cut_file {
    sqlite3_file base;
    cut_disk_file *disk;
    sqlite3_file *real;
} cut_file;

static struct {
    pthread_mutex_t lock; /* of all here */
    sqlite3_vfs vfs, *real;
    cut_disk_file *files;
    bool is_off, lies;
    cut_fault fault;
    long calls_left;  /* until it comes; negative: it does not */
    long fault_calls; /* how many fail then */
    uint64_t random;
} cut = {.lock = PTHREAD_MUTEX_INITIALIZER, .calls_left = -1};

static uint64_t cut_draw(void)
{
    cut.random ^= cut.random >> 12;
    cut.random ^= cut.random << 25;
    cut.random ^= cut.random >> 27;
    return cut.random * UINT64_C(2685821657736338717);
}

/* Let the fault come with the call after so many. */
static void cut_arm(cut_fault fault, long after, long calls, uint64_t random)
{
    pthread_mutex_lock(&cut.lock);
    cut.fault = fault;
    cut.calls_left = after;
    cut.fault_calls = calls;
    cut.random = random * 2 + 1;
    pthread_mutex_unlock(&cut.lock);
}

static void cut_disarm(void)
{
    pthread_mutex_lock(&cut.lock);
    cut.calls_left = -1;
    cut.fault_calls = 0;
    pthread_mutex_unlock(&cut.lock);
}

/* Say that something was synced, and keep it in the cache. */
static void cut_lies(bool lies)
{
    pthread_mutex_lock(&cut.lock);
    cut.lies = lies;
    pthread_mutex_unlock(&cut.lock);
}

/* Does this call fail? With the lock. */
static bool cut_fails(bool is_sync)
{
    if (cut.is_off)
        return true;
    if (cut.calls_left < 0 || (cut.fault == CUT_FULL && is_sync))
        return false;
    if (cut.calls_left > 0) {
        cut.calls_left--;
        return false;
    }
    if (cut.fault == CUT_POWER)
        cut.is_off = true;
    else if (--cut.fault_calls <= 0)
        cut.calls_left = -1;
    return true;
}

/* --- sectors --- */

static bool cut_remembers(const cut_disk_file *disk, int64_t number)
{
    for (const cut_sector *s = disk->chains[number % CUT_CHAINS]; s; s = s->next)
        if (s->number == number)
            return true;
    return false;
}

/* Keep what those bytes' sectors hold, unless it is known what the disk has there. */
static void cut_remember(cut_file *f, int64_t from, int64_t to)
{
    for (int64_t number = from / CUT_SECTOR; number * CUT_SECTOR < to; number++) {
        if (cut_remembers(f->disk, number))
            continue;
        cut_sector *s = calloc(1, sizeof(*s));
        if (!s)
            abort();
        s->number = number;
        /* What is beyond the end is zeros. */
        f->real->pMethods->xRead(f->real, s->bytes, CUT_SECTOR, number * CUT_SECTOR);
        s->next = f->disk->chains[number % CUT_CHAINS];
        f->disk->chains[number % CUT_CHAINS] = s;
    }
}

static void cut_forget(cut_disk_file *disk)
{
    for (int i = 0; i < CUT_CHAINS; i++)
        while (disk->chains[i]) {
            cut_sector *s = disk->chains[i];
            disk->chains[i] = s->next;
            free(s);
        }
}

/* Put back what the disk had there, unless chance will have it that the new bytes have reached it. Returns:
 * where the file ends then. */
static int64_t cut_restore_sector(int fd, const cut_sector *s, bool all, int64_t end)
{
    int64_t own_end = (s->number + 1) * CUT_SECTOR;
    if (!all && cut_draw() % 2)
        return own_end > end ? own_end : end;
    if (pwrite(fd, s->bytes, CUT_SECTOR, s->number * CUT_SECTOR) != CUT_SECTOR)
        abort();
    return end;
}

static void cut_restore_one(cut_disk_file *disk, bool all)
{
    int64_t end = disk->synced_bytes;
    int fd = open(disk->path, O_RDWR | O_CLOEXEC);
    for (int i = 0; i < CUT_CHAINS; i++)
        for (cut_sector *s = disk->chains[i]; s && fd >= 0; s = s->next)
            end = cut_restore_sector(fd, s, all, end);
    if (fd >= 0 && (ftruncate(fd, end) || close(fd)))
        abort();
    cut_forget(disk);
}

/* The power is back: the disk has what was synced, and of the rest nothing, or some. Thread: one, with
 * everything closed. */
static void cut_restore(bool all)
{
    while (cut.files) {
        cut_disk_file *disk = cut.files;
        cut_restore_one(disk, all);
        cut.files = disk->next;
        free(disk);
    }
    cut.is_off = false;
    cut.calls_left = -1;
}

static cut_disk_file *cut_find(const char *path, int64_t bytes)
{
    for (cut_disk_file *disk = cut.files; disk; disk = disk->next)
        if (strcmp(disk->path, path) == 0)
            return disk;
    cut_disk_file *disk = calloc(1, sizeof(*disk));
    if (!disk)
        abort();
    snprintf(disk->path, sizeof(disk->path), "%s", path);
    disk->synced_bytes = bytes;
    disk->next = cut.files;
    cut.files = disk;
    return disk;
}

/* --- a file's calls --- */

static cut_file *cut_of(sqlite3_file *file)
{
    return (cut_file *)(void *)file;
}

#define CUT_REAL(file)    (cut_of(file)->real)
#define CUT_METHODS(file) (cut_of(file)->real->pMethods)

static int cut_close(sqlite3_file *file)
{
    return CUT_METHODS(file)->xClose(CUT_REAL(file));
}

static int cut_read(sqlite3_file *file, void *to, int n, sqlite3_int64 at)
{
    pthread_mutex_lock(&cut.lock);
    bool off = cut.is_off;
    pthread_mutex_unlock(&cut.lock);
    return off ? SQLITE_IOERR_READ : CUT_METHODS(file)->xRead(CUT_REAL(file), to, n, at);
}

static int cut_write(sqlite3_file *file, const void *from, int n, sqlite3_int64 at)
{
    pthread_mutex_lock(&cut.lock);
    bool was_off = cut.is_off, fails = cut_fails(false);
    int written = fails ? (int)(cut_draw() % (uint64_t)n) : n; /* a torn one */
    int result = SQLITE_OK;
    if (!was_off && written > 0 && cut_of(file)->disk) {
        cut_remember(cut_of(file), at, at + written);
        result = CUT_METHODS(file)->xWrite(CUT_REAL(file), from, written, at);
    } else if (!was_off && written > 0) {
        result = CUT_METHODS(file)->xWrite(CUT_REAL(file), from, written, at);
    }
    if (fails)
        result = cut.fault == CUT_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    pthread_mutex_unlock(&cut.lock);
    return result;
}

static int cut_truncate(sqlite3_file *file, sqlite3_int64 bytes)
{
    sqlite3_int64 before = 0;
    pthread_mutex_lock(&cut.lock);
    int result = SQLITE_IOERR_TRUNCATE;
    if (!cut_fails(true)) {
        CUT_METHODS(file)->xFileSize(CUT_REAL(file), &before);
        if (cut_of(file)->disk && bytes < before)
            cut_remember(cut_of(file), bytes, before);
        result = CUT_METHODS(file)->xTruncate(CUT_REAL(file), bytes);
    }
    pthread_mutex_unlock(&cut.lock);
    return result;
}

/* The real file needs no sync: this machine keeps its power. */
static int cut_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    sqlite3_int64 bytes = 0;
    pthread_mutex_lock(&cut.lock);
    int result = SQLITE_IOERR_FSYNC;
    if (!cut_fails(true)) {
        result = CUT_METHODS(file)->xFileSize(CUT_REAL(file), &bytes);
        if (cut_of(file)->disk && !cut.lies) {
            cut_of(file)->disk->synced_bytes = bytes;
            cut_forget(cut_of(file)->disk);
        }
    }
    pthread_mutex_unlock(&cut.lock);
    return result;
}

static int cut_file_size(sqlite3_file *file, sqlite3_int64 *ret)
{
    return CUT_METHODS(file)->xFileSize(CUT_REAL(file), ret);
}

static int cut_lock(sqlite3_file *file, int level)
{
    return CUT_METHODS(file)->xLock(CUT_REAL(file), level);
}

static int cut_unlock(sqlite3_file *file, int level)
{
    return CUT_METHODS(file)->xUnlock(CUT_REAL(file), level);
}

static int cut_check_reserved(sqlite3_file *file, int *ret)
{
    return CUT_METHODS(file)->xCheckReservedLock(CUT_REAL(file), ret);
}

/* Not hints of sizes: they would change the file behind our back. */
static int cut_control(sqlite3_file *file, int what, void *argument)
{
    if (what == SQLITE_FCNTL_SIZE_HINT || what == SQLITE_FCNTL_CHUNK_SIZE)
        return SQLITE_NOTFOUND;
    return CUT_METHODS(file)->xFileControl(CUT_REAL(file), what, argument);
}

static int cut_sector_size(sqlite3_file *file)
{
    return CUT_METHODS(file)->xSectorSize(CUT_REAL(file));
}

static int cut_characteristics(sqlite3_file *file)
{
    return CUT_METHODS(file)->xDeviceCharacteristics(CUT_REAL(file));
}

static int cut_shm_map(sqlite3_file *file, int page, int bytes, int extend, void volatile **ret)
{
    return CUT_METHODS(file)->xShmMap(CUT_REAL(file), page, bytes, extend, ret);
}

static int cut_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return CUT_METHODS(file)->xShmLock(CUT_REAL(file), offset, n, flags);
}

static void cut_shm_barrier(sqlite3_file *file)
{
    CUT_METHODS(file)->xShmBarrier(CUT_REAL(file));
}

static int cut_shm_unmap(sqlite3_file *file, int remove)
{
    return CUT_METHODS(file)->xShmUnmap(CUT_REAL(file), remove);
}

/* Version 2: no mapping of the file, which would go past us. */
static const sqlite3_io_methods cut_methods = {.iVersion = 2,
                                               .xClose = cut_close,
                                               .xRead = cut_read,
                                               .xWrite = cut_write,
                                               .xTruncate = cut_truncate,
                                               .xSync = cut_sync,
                                               .xFileSize = cut_file_size,
                                               .xLock = cut_lock,
                                               .xUnlock = cut_unlock,
                                               .xCheckReservedLock = cut_check_reserved,
                                               .xFileControl = cut_control,
                                               .xSectorSize = cut_sector_size,
                                               .xDeviceCharacteristics = cut_characteristics,
                                               .xShmMap = cut_shm_map,
                                               .xShmLock = cut_shm_lock,
                                               .xShmBarrier = cut_shm_barrier,
                                               .xShmUnmap = cut_shm_unmap};

/* --- the VFS's calls --- */

static int cut_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)vfs;
    cut_file *f = cut_of(file);
    sqlite3_int64 bytes = 0;
    f->base.pMethods = NULL;
    f->real = (sqlite3_file *)(void *)(f + 1);
    pthread_mutex_lock(&cut.lock);
    int result = cut.is_off ? SQLITE_CANTOPEN : cut.real->xOpen(cut.real, name, f->real, flags, ret_flags);
    if (!result) {
        f->base.pMethods = &cut_methods;
        f->real->pMethods->xFileSize(f->real, &bytes);
        f->disk = name && flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)
                      ? cut_find(name, bytes)
                      : NULL;
    }
    pthread_mutex_unlock(&cut.lock);
    return result;
}

static int cut_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    pthread_mutex_lock(&cut.lock);
    int result = cut_fails(true) ? SQLITE_IOERR_DELETE : cut.real->xDelete(cut.real, name, sync);
    for (cut_disk_file **at = &cut.files; *at && !result; at = &(*at)->next)
        if (strcmp((*at)->path, name) == 0) {
            cut_forget(*at);
            (*at)->synced_bytes = 0;
            break;
        }
    pthread_mutex_unlock(&cut.lock);
    return result;
}

static int cut_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    (void)vfs;
    return cut.real->xAccess(cut.real, name, flags, ret);
}

static int cut_full_pathname(sqlite3_vfs *vfs, const char *name, int n, char *ret)
{
    (void)vfs;
    return cut.real->xFullPathname(cut.real, name, n, ret);
}

/* Make it the default. */
static void cut_register(void)
{
    if (cut.real)
        return;
    cut.real = sqlite3_vfs_find(NULL);
    cut.vfs = *cut.real;
    cut.vfs.zName = "cut";
    cut.vfs.szOsFile = (int)sizeof(cut_file) + cut.real->szOsFile;
    cut.vfs.pNext = NULL;
    cut.vfs.xOpen = cut_open;
    cut.vfs.xDelete = cut_delete;
    cut.vfs.xAccess = cut_access;
    cut.vfs.xFullPathname = cut_full_pathname;
    if (sqlite3_vfs_register(&cut.vfs, 1))
        abort();
}

#endif
