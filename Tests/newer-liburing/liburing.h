// The differences of liburing 2.8 and later from 2.3, over the header that is installed here: the
// names of a structure's members, and a version. `make test` compiles Sources/CURing against it.
//
// Under a newer liburing this is the header as it is.
#include <features.h>
#if __has_include(<liburing/io_uring_version.h>)
#include_next <liburing.h>
#else
// The third member of `struct io_uring_getevents_arg`.
#define pad min_wait_usec
#define IO_URING_VERSION_MAJOR 2
#define IO_URING_VERSION_MINOR 8
#include_next <liburing.h>
#undef pad
#endif
