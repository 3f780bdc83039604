#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The job that lets redis save by fork() while a client writes. The client changes all
# keys by one script, which redis runs as a whole: each file that it saved has to hold one
# generation of them. "saves", how often, and "keys", how many, are set before this.
# shellcheck disable=SC2154

SOCKET=/tmp/redis.sock
COPY=/tmp/copy.sock
FILL="for i = 1, $keys do redis.call('set', 'key' .. i, string.rep(ARGV[1] .. ' ', 50)) end"
COMPARE="local first = redis.call('get', 'key1')
for i = 2, $keys do if redis.call('get', 'key' .. i) ~= first then return 'torn at ' .. i end end
return 'generation ' .. string.match(first, '%d+')"

client()
{
	redis-cli -s "$SOCKET" "$@"
}

fail()
{
	echo "redis: $*"
	tail -n 20 /tmp/redis/log /tmp/copy/log
	exit 1
}

# $1: a socket, $2: a directory
serve()
{
	mkdir -p "$2"
	redis-server --port 0 --unixsocket "$1" --dir "$2" --save '' --daemonize no \
		--logfile "$2/log" &
	limit=300
	until [ "$(redis-cli -s "$1" ping 2> /dev/null)" = PONG ]; do
		limit=$((limit - 1))
		[ "$limit" -gt 0 ] || fail "$1 does not answer"
		sleep 0.1
	done
}

writer()
{
	generation=1
	while client eval "$FILL" 0 "$generation" > /dev/null; do
		generation=$((generation + 1))
	done
}

rm -rf /tmp/redis /tmp/copy
serve $SOCKET /tmp/redis
client eval "$FILL" 0 0 > /dev/null || fail "can't write"
writer &
last=-1
for save in $(seq "$saves"); do
	client bgsave > /dev/null
	while client info persistence | grep -q 'rdb_bgsave_in_progress:1'; do
		sleep 0.1
	done
	client info persistence | grep -q 'rdb_last_bgsave_status:ok' || fail "save $save failed"
	rm -rf /tmp/copy
	mkdir /tmp/copy
	cp /tmp/redis/dump.rdb /tmp/copy/
	serve $COPY /tmp/copy
	found=$(redis-cli -s $COPY eval "$COMPARE" 0)
	redis-cli -s $COPY shutdown nosave
	echo "redis: save $save holds $found"
	case $found in
	"generation "*) ;;
	*) fail "save $save is torn" ;;
	esac
	[ "${found#generation }" -gt "$last" ] || fail "nothing was written since the last save"
	last=${found#generation }
done
client shutdown nosave
echo "redis: whole"
