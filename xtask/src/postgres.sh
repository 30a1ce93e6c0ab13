# Runs a PostgreSQL server for as long as standard input stays open, then stops it and removes its folder.
# Arguments: the folder, the folder of PostgreSQL's programs, the port, its settings, then the words that change
# the account.
trap '' HUP INT TERM
folder=$1 programs=$2 port=$3 settings=$4
shift 4
cd "$folder" || exit 1

if "$@" "$programs/initdb" --pgdata=data --username=postgres --auth=trust \
    --encoding=UTF8 --locale=C --no-sync >log 2>&1; then
    "$@" "$programs/postgres" -D data -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
        -c max_connections=400 -c fsync=on -c timezone=UTC $settings >>log 2>&1 &
    server=$!
else
    echo "initdb failed" >>log
fi

# Returns when the owner closes its end of the pipe or ends in any way, kill -9 included.
read -r _

if [ -n "${server:-}" ]; then
    # "Immediate shutdown": nothing here is worth a checkpoint.
    kill -QUIT "$server" 2>/dev/null
    wait "$server"
fi
cd / && rm -rf "$folder"
