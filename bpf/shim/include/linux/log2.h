/* asked for by BCC; nothing of it is used */
