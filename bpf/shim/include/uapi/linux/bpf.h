/* BCC asks for uapi/linux/bpf.h and has this folder on its path twice: take the next one */
#include_next <linux/bpf.h>
