/* BCC asks for uapi/linux/if_ether.h and has this folder on its path twice: take the next one */
#include_next <linux/if_ether.h>
