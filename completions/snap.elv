
use builtin;
use str;

set edit:completion:arg-completer[snap] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'snap'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'snap'= {
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand backup 'Download the meta store and the shards of a running influxd into a backup directory'
            cand restore 'Put a backup back: into the directories of a stopped influxd, or with -online into a running one'
            cand serve 'Be the snapshotter service over the directories of a stopped influxd'
            cand list 'Show the sets in a backup directory, oldest first'
            cand info 'Show what one set holds, shard by shard; with -host, what a server holds'
            cand verify 'Read sets end to end and report damage'
            cand forget 'Remove the sets that a retention policy does not keep'
            cand keep 'Mark a set as one that snap forget never removes'
            cand generate 'Print shell completions or the manual page'
        }
        &'snap;backup'= {
            cand --host 'The snapshotter: host:port, or a host alone for port 8088'
            cand --dialect 'The protocol: auto finds out, 1.0 is that of servers 1.0 to 1.4, 1.5 that of later ones'
            cand --connect-timeout 'How long to wait for a connection'
            cand --idle-timeout 'How long to wait for the next byte; influxd flushes a shard''s cache before its first'
            cand --attempt-timeout 'How long one attempt at one shard may take'
            cand --retries 'How often to try again after a failure, shard by shard, each time from its beginning'
            cand --jobs 'How many shards to work on at a time'
            cand --metadir 'Back up a stopped influxd with this meta directory; -datadir is needed too, and -host is not asked'
            cand --datadir 'Back up a stopped influxd with this data directory'
            cand --waldir 'The WAL directory: what is in it is taken as TSM files [default: wal beside -datadir]'
            cand --ignore-wal 'Leave out what is in the WAL only'
            cand --database 'Take this database alone'
            cand --db 'Take this database alone'
            cand --retention 'Take this retention policy alone'
            cand --rp 'Take this retention policy alone'
            cand --shard 'Take this shard alone'
            cand --include-internal 'Take _internal too, where all databases are taken'
            cand --meta-only 'Take the meta store and no shard'
            cand --since 'Take the files that the server changed after T, or after the newest complete set was begun: an increment to it'
            cand --start 'Take points from T on'
            cand --end 'Take points up to T'
            cand --stop 'Take points up to T'
            cand --coarse 'With -start and -end, leave blocks whole as the server sends them, with points before and after'
            cand --incremental 'Download only shards that have changed since the newest complete set, and share the files of the others with it: each set is whole, and restored alone'
            cand --full 'With -incremental, download all shards this once'
            cand --full-every 'With -incremental, download all shards in every Nth set'
            cand --cold-after 'With -incremental, download shards that changed less than D before the earlier set was begun; more than the clocks of server and client may differ'
            cand --portable 'Write influxd''s portable layout: compressed tars and a manifest, for `influxd restore -portable`'
            cand --skip-errors 'Where shards fail, make a set of the others, marked as partial, and exit with 3'
            cand --dry-run 'Say what would be downloaded, and download nothing'
            cand --retry-lock 'How long to wait for another run in the same directory to end'
            cand --quiet 'Print errors alone'
            cand --verbose 'Print requests, retries and times as well'
            cand --json 'Print JSON lines on standard output, each with a message_type'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'snap;restore'= {
            cand --metadir 'Restore the meta store into this directory'
            cand --datadir 'Restore shards into this directory'
            cand --waldir 'The WAL directory, looked at for data of the shards that are restored [default: wal beside -datadir]'
            cand --online 'Restore into the running server at -host, whatever the layout of the backup'
            cand --portable 'The same as -online, for scripts of influxd''s: the layout is found out. With -metadir and -datadir it says nothing'
            cand --host 'With -online, the server''s snapshotter; else where an influxd that runs on the target would answer: it is asked first'
            cand --database 'Restore this database alone'
            cand --db 'Restore this database alone'
            cand --retention 'Restore this retention policy alone'
            cand --rp 'Restore this retention policy alone'
            cand --shard 'Restore this shard alone'
            cand --newdb 'Give the database this name'
            cand --newrp 'Give the retention policy this name'
            cand --start 'Restore points from T on'
            cand --end 'Restore points up to T'
            cand --stop 'Restore points up to T'
            cand --force 'Replace the meta store and the shards that the target holds'
            cand --merge 'Add the databases to the target''s meta store, with new shard and group ids'
            cand --index 'The index of the restored shards: that of the target''s other shards (auto), inmem, or tsi1, which influxd builds at its next start'
            cand --no-verify 'With -online, do not read shards back to compare them'
            cand --resume 'With -online, go on with the interrupted restore from PATH into -host'
            cand --dry-run 'Say what would be written, and write nothing'
            cand --dialect 'The protocol: auto finds out, 1.0 is that of servers 1.0 to 1.4, 1.5 that of later ones'
            cand --connect-timeout 'How long to wait for a connection'
            cand --idle-timeout 'How long to wait for the next byte; influxd flushes a shard''s cache before its first'
            cand --attempt-timeout 'How long one attempt at one shard may take'
            cand --retries 'How often to try again after a failure, shard by shard, each time from its beginning'
            cand --jobs 'How many shards to work on at a time'
            cand --quiet 'Print errors alone'
            cand --verbose 'Print requests, retries and times as well'
            cand --json 'Print JSON lines on standard output, each with a message_type'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'snap;serve'= {
            cand --metadir 'The meta directory'
            cand --datadir 'The data directory'
            cand --waldir 'The WAL directory: what is in it is served as TSM files [default: wal beside -datadir]'
            cand --ignore-wal 'Serve shards without what is in their WAL'
            cand --bind 'The address to listen on'
            cand --dialect 'The dialects to answer in'
            cand --writable 'Answer imports and uploads too, which change the directories'
            cand --connections 'How many connections to serve at a time'
            cand --grace 'How long to wait at the end for requests under way'
            cand --quiet 'Print errors alone'
            cand --verbose 'Print requests, retries and times as well'
            cand --json 'Print JSON lines on standard output, each with a message_type'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'snap;list'= {
            cand --quiet 'Print errors alone'
            cand --verbose 'Print requests, retries and times as well'
            cand --json 'Print JSON lines on standard output, each with a message_type'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'snap;info'= {
            cand --host 'Ask the snapshotter at this address instead'
            cand --dialect 'The protocol: auto finds out, 1.0 is that of servers 1.0 to 1.4, 1.5 that of later ones'
            cand --connect-timeout 'How long to wait for a connection'
            cand --idle-timeout 'How long to wait for the next byte; influxd flushes a shard''s cache before its first'
            cand --attempt-timeout 'How long one attempt at one shard may take'
            cand --retries 'How often to try again after a failure, shard by shard, each time from its beginning'
            cand --jobs 'How many shards to work on at a time'
            cand --quiet 'Print errors alone'
            cand --verbose 'Print requests, retries and times as well'
            cand --json 'Print JSON lines on standard output, each with a message_type'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'snap;verify'= {
            cand --deep 'Look at every block of every TSM file'
            cand --jobs 'How many files to read at a time'
            cand --quiet 'Print errors alone'
            cand --verbose 'Print requests, retries and times as well'
            cand --json 'Print JSON lines on standard output, each with a message_type'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'snap;forget'= {
            cand --keep-last 'Keep the N newest sets'
            cand --keep-hourly 'Keep the newest set of each of the last N hours that have sets'
            cand --keep-daily 'Keep the newest set of each of the last N days that have sets'
            cand --keep-weekly 'Keep the newest set of each of the last N weeks (Monday to Sunday) that have sets'
            cand --keep-monthly 'Keep the newest set of each of the last N months that have sets'
            cand --keep-yearly 'Keep the newest set of each of the last N years that have sets'
            cand --keep-within 'Keep all sets begun within D before the newest complete one: 7d, 2w, 24h, 1y5m7d2h (m: months)'
            cand --timezone 'Where hours, days, weeks, months and years begin: a name such as Europe/Berlin [default: UTC]'
            cand --dry-run 'Say what would be removed, and remove nothing'
            cand --retry-lock 'How long to wait for another run in the same directory to end'
            cand --quiet 'Print errors alone'
            cand --verbose 'Print requests, retries and times as well'
            cand --json 'Print JSON lines on standard output, each with a message_type'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'snap;keep'= {
            cand --release 'Take the mark off'
            cand --retry-lock 'How long to wait for another run in the same directory to end'
            cand --quiet 'Print errors alone'
            cand --verbose 'Print requests, retries and times as well'
            cand --json 'Print JSON lines on standard output, each with a message_type'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'snap;generate'= {
            cand -h 'Print help'
            cand --help 'Print help'
        }
    ]
    $completions[$command]
}
