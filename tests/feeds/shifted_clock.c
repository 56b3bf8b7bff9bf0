/* shifted_clock.c: for LD_PRELOAD. The wall clock of a process, as clock_gettime tells it, is off by the seconds that stand in the file
 * named by SHIFTED_CLOCK; they may change while it runs. Debian's libfaketime shifts the time without the C11 condition variables that
 * librdkafka waits on, so that its threads wait for as long as the clock is shifted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long shift_seconds(void) {
  static int file = -2;
  char text[32] = {0};
  if (file == -2) {
    const char *path = getenv("SHIFTED_CLOCK");
    file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  }
  if (file < 0 || pread(file, text, sizeof text - 1, 0) <= 0) return 0;
  return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int outcome = real(clock, now);
  if (outcome == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift_seconds();
  return outcome;
}
