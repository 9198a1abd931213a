/* What BCC takes for a kernel source tree (BCC_KERNEL_SOURCE): an XDP program needs the UAPI headers of
 * linux-libc-dev and nothing of the running kernel. BCC force-includes this file, then its own bpf.h. */
#define CONFIG_BPF_SYSCALL 1
#define __LINUX_BPF_H__
#include <linux/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef __SIZE_TYPE__ size_t;
typedef unsigned long uintptr_t;
typedef _Bool bool;
#define true 1
#define false 0

struct pt_regs;
