# What a login writes is for itself; no core dumps, which hold passwords.
umask 027
ulimit -c 0
# An idle shell ends.
TMOUT=3600
readonly TMOUT
