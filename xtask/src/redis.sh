# Runs a Redis or Valkey server for as long as standard input stays open, then stops it and removes its folder.
# Arguments: the folder, the port.
trap '' HUP INT TERM
folder=$1 port=$2
cd "$folder" || exit 1

program=$(command -v redis-server || command -v valkey-server)
"$program" --port "$port" --bind 127.0.0.1 --save "" --appendonly no >log 2>&1 &
server=$!

# Returns when the owner closes its end of the pipe or ends in any way, kill -9 included.
read -r _

# It keeps nothing that a kill could damage.
kill -KILL "$server" 2>/dev/null
wait "$server"
cd / && rm -rf "$folder"
