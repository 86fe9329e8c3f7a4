# fish completion for snap, which says itself what fits: see src/cli/complete.
# Install this file as snap.fish in a folder of $fish_complete_path, or source it.

function __snap_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l word (commandline --current-token --cut-at-cursor)
    set -l command (string replace --regex '^~/' $HOME/ -- $words[1])
    set -l reply ($command __complete fish $words[2..] (string unescape -- $word; or echo -- $word) 2>/dev/null)
    set -l head (string split --max 1 ' ' -- $reply[1])
    for candidate in $reply[2..]
        echo -- $head[2]$candidate
    end
    set -l path (string sub --start (math (string length -- $head[2]) + 1) -- $word)
    switch $head[1]
        case dirs
            for found in (__fish_complete_directories $path '')
                echo -- $head[2]$found
            end
        case files
            for found in (__fish_complete_path $path)
                echo -- $head[2]$found
            end
    end
end

complete --command snap --no-files --keep-order --arguments '(__snap_complete)'
