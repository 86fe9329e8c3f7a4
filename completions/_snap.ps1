
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'snap' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'snap'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'snap' {
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration, or "" for none')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('backup', 'backup', [CompletionResultType]::ParameterValue, 'Back up a running influxd, or the directories of a stopped one')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Restore into a stopped influxd, or with -online into a running one')
            [CompletionResult]::new('serve', 'serve', [CompletionResultType]::ParameterValue, 'Serve a stopped influxd''s directories over the snapshotter protocol')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the sets in a backup directory, oldest first')
            [CompletionResult]::new('info', 'info', [CompletionResultType]::ParameterValue, 'Show what a set holds, or with -host what a server holds')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Read sets from end to end and report damage')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Check that the newest set is new enough and complete, for monitoring')
            [CompletionResult]::new('forget', 'forget', [CompletionResultType]::ParameterValue, 'Remove the sets that a retention policy does not keep')
            [CompletionResult]::new('keep', 'keep', [CompletionResultType]::ParameterValue, 'Keep a set: snap forget never removes it')
            [CompletionResult]::new('generate', 'generate', [CompletionResultType]::ParameterValue, 'Print completions, manual pages or an example configuration')
            break
        }
        'snap;backup' {
            [CompletionResult]::new('--host', '--host', [CompletionResultType]::ParameterName, 'Where influxd''s snapshotter listens')
            [CompletionResult]::new('--metadir', '--metadir', [CompletionResultType]::ParameterName, 'Of a stopped influxd, its meta directory')
            [CompletionResult]::new('--datadir', '--datadir', [CompletionResultType]::ParameterName, 'Of a stopped influxd, its data directory')
            [CompletionResult]::new('--waldir', '--waldir', [CompletionResultType]::ParameterName, 'Its WAL directory [default: wal beside -datadir]')
            [CompletionResult]::new('--ignore-wal', '--ignore-wal', [CompletionResultType]::ParameterName, 'Leave out what only the WAL holds')
            [CompletionResult]::new('--database', '--database', [CompletionResultType]::ParameterName, 'Only this database')
            [CompletionResult]::new('--db', '--db', [CompletionResultType]::ParameterName, 'Only this database')
            [CompletionResult]::new('--retention', '--retention', [CompletionResultType]::ParameterName, 'Only this retention policy of -database')
            [CompletionResult]::new('--rp', '--rp', [CompletionResultType]::ParameterName, 'Only this retention policy of -database')
            [CompletionResult]::new('--shard', '--shard', [CompletionResultType]::ParameterName, 'Only this shard')
            [CompletionResult]::new('--include-internal', '--include-internal', [CompletionResultType]::ParameterName, 'Back up _internal too')
            [CompletionResult]::new('--meta-only', '--meta-only', [CompletionResultType]::ParameterName, 'Only the metastore, no shards')
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Only files changed since T, or since the last set')
            [CompletionResult]::new('--start', '--start', [CompletionResultType]::ParameterName, 'Only points from T on, as 2026-11-20 or 24h (ago)')
            [CompletionResult]::new('--end', '--end', [CompletionResultType]::ParameterName, 'Only points up to T')
            [CompletionResult]::new('--stop', '--stop', [CompletionResultType]::ParameterName, 'Only points up to T')
            [CompletionResult]::new('--coarse', '--coarse', [CompletionResultType]::ParameterName, 'With -start and -end, keep blocks whole')
            [CompletionResult]::new('--incremental', '--incremental', [CompletionResultType]::ParameterName, 'Download only shards that have changed')
            [CompletionResult]::new('--full', '--full', [CompletionResultType]::ParameterName, 'With -incremental, download all shards this once')
            [CompletionResult]::new('--full-every', '--full-every', [CompletionResultType]::ParameterName, 'With -incremental, all shards in every Nth set')
            [CompletionResult]::new('--checksum', '--checksum', [CompletionResultType]::ParameterName, 'Compare shared files by their digest')
            [CompletionResult]::new('--cold-after', '--cold-after', [CompletionResultType]::ParameterName, 'How long a shard must be unchanged to be shared')
            [CompletionResult]::new('--portable', '--portable', [CompletionResultType]::ParameterName, 'Write influxd''s portable layout, compressed')
            [CompletionResult]::new('--apply-deletes', '--apply-deletes', [CompletionResultType]::ParameterName, 'Leave out points that were deleted but not yet compacted away')
            [CompletionResult]::new('--flush-timeout', '--flush-timeout', [CompletionResultType]::ParameterName, 'How long to wait for a shard that is being flushed')
            [CompletionResult]::new('--skip-errors', '--skip-errors', [CompletionResultType]::ParameterName, 'If shards fail, make a partial set; exit code 3')
            [CompletionResult]::new('--resume', '--resume', [CompletionResultType]::ParameterName, 'Take over what a failed run had finished')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Print what would be downloaded; download nothing')
            [CompletionResult]::new('--retry-lock', '--retry-lock', [CompletionResultType]::ParameterName, 'How long to wait for another run in PATH to end')
            [CompletionResult]::new('--grace', '--grace', [CompletionResultType]::ParameterName, 'In object storage, how long files of no set stay')
            [CompletionResult]::new('--dialect', '--dialect', [CompletionResultType]::ParameterName, 'The protocol: of servers 1.0 to 1.4, or of later ones')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'How long to wait for a connection')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'How long to wait for the next byte')
            [CompletionResult]::new('--attempt-timeout', '--attempt-timeout', [CompletionResultType]::ParameterName, 'How long one attempt at one shard may take')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'How often to try a failed shard again')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'How many shards to work on at a time')
            [CompletionResult]::new('--limit-rate', '--limit-rate', [CompletionResultType]::ParameterName, 'Bytes per second at the most, as 20MiB')
            [CompletionResult]::new('--metrics-file', '--metrics-file', [CompletionResultType]::ParameterName, 'Write metrics of the run to this file')
            [CompletionResult]::new('--on-start', '--on-start', [CompletionResultType]::ParameterName, 'Run this with sh before the run')
            [CompletionResult]::new('--on-success', '--on-success', [CompletionResultType]::ParameterName, 'Run this with sh if all went well')
            [CompletionResult]::new('--on-failure', '--on-failure', [CompletionResultType]::ParameterName, 'Run this with sh if anything failed, is missing or is wrong')
            [CompletionResult]::new('--hook-timeout', '--hook-timeout', [CompletionResultType]::ParameterName, 'Stop each of these commands after this time')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print warnings and errors only')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Print warnings, errors and the result only, no progress')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration, or "" for none')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;restore' {
            [CompletionResult]::new('--metadir', '--metadir', [CompletionResultType]::ParameterName, 'Restore the metastore into this directory')
            [CompletionResult]::new('--datadir', '--datadir', [CompletionResultType]::ParameterName, 'Restore shards into this directory')
            [CompletionResult]::new('--waldir', '--waldir', [CompletionResultType]::ParameterName, 'The WAL directory [default: wal beside -datadir]')
            [CompletionResult]::new('--online', '--online', [CompletionResultType]::ParameterName, 'Restore into the running server at -host')
            [CompletionResult]::new('--portable', '--portable', [CompletionResultType]::ParameterName, 'As -online, for scripts that call influxd')
            [CompletionResult]::new('--host', '--host', [CompletionResultType]::ParameterName, 'The snapshotter of the running server')
            [CompletionResult]::new('--database', '--database', [CompletionResultType]::ParameterName, 'Only this database')
            [CompletionResult]::new('--db', '--db', [CompletionResultType]::ParameterName, 'Only this database')
            [CompletionResult]::new('--retention', '--retention', [CompletionResultType]::ParameterName, 'Only this retention policy of -database')
            [CompletionResult]::new('--rp', '--rp', [CompletionResultType]::ParameterName, 'Only this retention policy of -database')
            [CompletionResult]::new('--shard', '--shard', [CompletionResultType]::ParameterName, 'Only this shard')
            [CompletionResult]::new('--newdb', '--newdb', [CompletionResultType]::ParameterName, 'Give the database this name')
            [CompletionResult]::new('--newrp', '--newrp', [CompletionResultType]::ParameterName, 'Give the retention policy this name')
            [CompletionResult]::new('--start', '--start', [CompletionResultType]::ParameterName, 'Only points from T on, as 2026-11-20 or 24h (ago)')
            [CompletionResult]::new('--end', '--end', [CompletionResultType]::ParameterName, 'Only points up to T')
            [CompletionResult]::new('--stop', '--stop', [CompletionResultType]::ParameterName, 'Only points up to T')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Replace the metastore and shards of the target')
            [CompletionResult]::new('--merge', '--merge', [CompletionResultType]::ParameterName, 'Add the databases to the target''s metastore')
            [CompletionResult]::new('--index', '--index', [CompletionResultType]::ParameterName, 'The index of the restored shards')
            [CompletionResult]::new('--apply-deletes', '--apply-deletes', [CompletionResultType]::ParameterName, 'Leave out points that were deleted but not yet compacted away [default: on]')
            [CompletionResult]::new('--no-verify', '--no-verify', [CompletionResultType]::ParameterName, 'With -online, do not read back what was sent')
            [CompletionResult]::new('--resume', '--resume', [CompletionResultType]::ParameterName, 'With -online, go on with an interrupted restore')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Print what would be written; write nothing')
            [CompletionResult]::new('--dialect', '--dialect', [CompletionResultType]::ParameterName, 'The protocol: of servers 1.0 to 1.4, or of later ones')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'How long to wait for a connection')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'How long to wait for the next byte')
            [CompletionResult]::new('--attempt-timeout', '--attempt-timeout', [CompletionResultType]::ParameterName, 'How long one attempt at one shard may take')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'How often to try a failed shard again')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'How many shards to work on at a time')
            [CompletionResult]::new('--limit-rate', '--limit-rate', [CompletionResultType]::ParameterName, 'Bytes per second at the most, as 20MiB')
            [CompletionResult]::new('--metrics-file', '--metrics-file', [CompletionResultType]::ParameterName, 'Write metrics of the run to this file')
            [CompletionResult]::new('--on-start', '--on-start', [CompletionResultType]::ParameterName, 'Run this with sh before the run')
            [CompletionResult]::new('--on-success', '--on-success', [CompletionResultType]::ParameterName, 'Run this with sh if all went well')
            [CompletionResult]::new('--on-failure', '--on-failure', [CompletionResultType]::ParameterName, 'Run this with sh if anything failed, is missing or is wrong')
            [CompletionResult]::new('--hook-timeout', '--hook-timeout', [CompletionResultType]::ParameterName, 'Stop each of these commands after this time')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print warnings and errors only')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Print warnings, errors and the result only, no progress')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration, or "" for none')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;serve' {
            [CompletionResult]::new('--metadir', '--metadir', [CompletionResultType]::ParameterName, 'The meta directory')
            [CompletionResult]::new('--datadir', '--datadir', [CompletionResultType]::ParameterName, 'The data directory')
            [CompletionResult]::new('--waldir', '--waldir', [CompletionResultType]::ParameterName, 'The WAL directory [default: wal beside -datadir]')
            [CompletionResult]::new('--ignore-wal', '--ignore-wal', [CompletionResultType]::ParameterName, 'Leave out what only the WAL holds')
            [CompletionResult]::new('--bind', '--bind', [CompletionResultType]::ParameterName, 'The address to listen on')
            [CompletionResult]::new('--dialect', '--dialect', [CompletionResultType]::ParameterName, 'The dialects to answer in')
            [CompletionResult]::new('--writable', '--writable', [CompletionResultType]::ParameterName, 'Accept restores, which change the directories')
            [CompletionResult]::new('--connections', '--connections', [CompletionResultType]::ParameterName, 'How many connections to serve at a time')
            [CompletionResult]::new('--grace', '--grace', [CompletionResultType]::ParameterName, 'How long to wait at the end for requests under way')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print warnings and errors only')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Print warnings, errors and the result only, no progress')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration, or "" for none')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;list' {
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print warnings and errors only')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Print warnings, errors and the result only, no progress')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration, or "" for none')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;info' {
            [CompletionResult]::new('--host', '--host', [CompletionResultType]::ParameterName, 'Ask the snapshotter at this address instead')
            [CompletionResult]::new('--dialect', '--dialect', [CompletionResultType]::ParameterName, 'The protocol: of servers 1.0 to 1.4, or of later ones')
            [CompletionResult]::new('--connect-timeout', '--connect-timeout', [CompletionResultType]::ParameterName, 'How long to wait for a connection')
            [CompletionResult]::new('--idle-timeout', '--idle-timeout', [CompletionResultType]::ParameterName, 'How long to wait for the next byte')
            [CompletionResult]::new('--attempt-timeout', '--attempt-timeout', [CompletionResultType]::ParameterName, 'How long one attempt at one shard may take')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'How often to try a failed shard again')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'How many shards to work on at a time')
            [CompletionResult]::new('--limit-rate', '--limit-rate', [CompletionResultType]::ParameterName, 'Bytes per second at the most, as 20MiB')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print warnings and errors only')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Print warnings, errors and the result only, no progress')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration, or "" for none')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;verify' {
            [CompletionResult]::new('--deep', '--deep', [CompletionResultType]::ParameterName, 'Unpack every block of every TSM file')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'How many files to read at a time')
            [CompletionResult]::new('--metrics-file', '--metrics-file', [CompletionResultType]::ParameterName, 'Write metrics of the run to this file')
            [CompletionResult]::new('--on-start', '--on-start', [CompletionResultType]::ParameterName, 'Run this with sh before the run')
            [CompletionResult]::new('--on-success', '--on-success', [CompletionResultType]::ParameterName, 'Run this with sh if all went well')
            [CompletionResult]::new('--on-failure', '--on-failure', [CompletionResultType]::ParameterName, 'Run this with sh if anything failed, is missing or is wrong')
            [CompletionResult]::new('--hook-timeout', '--hook-timeout', [CompletionResultType]::ParameterName, 'Stop each of these commands after this time')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print warnings and errors only')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Print warnings, errors and the result only, no progress')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration, or "" for none')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;check' {
            [CompletionResult]::new('--max-age', '--max-age', [CompletionResultType]::ParameterName, 'How old the set may be, as 26h')
            [CompletionResult]::new('--database', '--database', [CompletionResultType]::ParameterName, 'Only sets that hold this database')
            [CompletionResult]::new('--db', '--db', [CompletionResultType]::ParameterName, 'Only sets that hold this database')
            [CompletionResult]::new('--max-lost-shards', '--max-lost-shards', [CompletionResultType]::ParameterName, 'How many shards may be gone, in percent')
            [CompletionResult]::new('--allow-empty', '--allow-empty', [CompletionResultType]::ParameterName, 'Accept a set without shards after one with some')
            [CompletionResult]::new('--metrics-file', '--metrics-file', [CompletionResultType]::ParameterName, 'Write metrics of the run to this file')
            [CompletionResult]::new('--on-start', '--on-start', [CompletionResultType]::ParameterName, 'Run this with sh before the run')
            [CompletionResult]::new('--on-success', '--on-success', [CompletionResultType]::ParameterName, 'Run this with sh if all went well')
            [CompletionResult]::new('--on-failure', '--on-failure', [CompletionResultType]::ParameterName, 'Run this with sh if anything failed, is missing or is wrong')
            [CompletionResult]::new('--hook-timeout', '--hook-timeout', [CompletionResultType]::ParameterName, 'Stop each of these commands after this time')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print warnings and errors only')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Print warnings, errors and the result only, no progress')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration, or "" for none')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;forget' {
            [CompletionResult]::new('--keep-last', '--keep-last', [CompletionResultType]::ParameterName, 'Keep the N newest sets')
            [CompletionResult]::new('--keep-hourly', '--keep-hourly', [CompletionResultType]::ParameterName, 'Keep the newest set of each of the last N hours')
            [CompletionResult]::new('--keep-daily', '--keep-daily', [CompletionResultType]::ParameterName, 'Keep the newest set of each of the last N days')
            [CompletionResult]::new('--keep-weekly', '--keep-weekly', [CompletionResultType]::ParameterName, 'Keep the newest set of each of the last N weeks')
            [CompletionResult]::new('--keep-monthly', '--keep-monthly', [CompletionResultType]::ParameterName, 'Keep the newest set of each of the last N months')
            [CompletionResult]::new('--keep-yearly', '--keep-yearly', [CompletionResultType]::ParameterName, 'Keep the newest set of each of the last N years')
            [CompletionResult]::new('--keep-within', '--keep-within', [CompletionResultType]::ParameterName, 'Keep all sets of the last D, as 7d or 1y5m')
            [CompletionResult]::new('--timezone', '--timezone', [CompletionResultType]::ParameterName, 'Where days begin, as Europe/Berlin [default: UTC]')
            [CompletionResult]::new('--lost', '--lost', [CompletionResultType]::ParameterName, 'Remove the sets of which no file is left')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Print what would be removed; remove nothing')
            [CompletionResult]::new('--retry-lock', '--retry-lock', [CompletionResultType]::ParameterName, 'How long to wait for another run in PATH to end')
            [CompletionResult]::new('--grace', '--grace', [CompletionResultType]::ParameterName, 'In object storage, how long files of no set stay')
            [CompletionResult]::new('--metrics-file', '--metrics-file', [CompletionResultType]::ParameterName, 'Write metrics of the run to this file')
            [CompletionResult]::new('--on-start', '--on-start', [CompletionResultType]::ParameterName, 'Run this with sh before the run')
            [CompletionResult]::new('--on-success', '--on-success', [CompletionResultType]::ParameterName, 'Run this with sh if all went well')
            [CompletionResult]::new('--on-failure', '--on-failure', [CompletionResultType]::ParameterName, 'Run this with sh if anything failed, is missing or is wrong')
            [CompletionResult]::new('--hook-timeout', '--hook-timeout', [CompletionResultType]::ParameterName, 'Stop each of these commands after this time')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print warnings and errors only')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Print warnings, errors and the result only, no progress')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration, or "" for none')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;keep' {
            [CompletionResult]::new('--note', '--note', [CompletionResultType]::ParameterName, 'Why it is kept, for snap list and snap info; "" removes the note')
            [CompletionResult]::new('--release', '--release', [CompletionResultType]::ParameterName, 'Keep the set no longer')
            [CompletionResult]::new('--retry-lock', '--retry-lock', [CompletionResultType]::ParameterName, 'How long to wait for another run in PATH to end')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print warnings and errors only')
            [CompletionResult]::new('--summary', '--summary', [CompletionResultType]::ParameterName, 'Print warnings, errors and the result only, no progress')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print requests, retries and times too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON lines on standard output')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration, or "" for none')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'snap;generate' {
            [CompletionResult]::new('--dir', '--dir', [CompletionResultType]::ParameterName, 'With man, write all pages into this directory, made if absent')
            [CompletionResult]::new('--profile', '--profile', [CompletionResultType]::ParameterName, 'Take flags from this profile of the configuration')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'The configuration, or "" for none')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
