# elvish completion for snap, which says itself what fits: see src/cli/complete.
# Add this file's text to rc.elv.

use str

set edit:completion:arg-completer[snap] = {|@words|
    var reply = [none' ']
    try {
        set reply = [((external $words[0]) __complete elvish (all $words[1..]) 2>/dev/null)]
    } catch { nop }
    var paths head = (str:split &max=2 ' ' $reply[0])
    for line $reply[1..] {
        var word about = (str:split &max=2 "\t" $line)
        var shown = $word
        if (not-eq $about '') { set shown = $word' ('$about')' }
        edit:complex-candidate $head$word &display=$shown
    }
    if (not-eq $paths none) {
        edit:complete-filename (str:trim-prefix $words[-1] $head) | each {|found|
            if (or (eq $paths files) (str:has-suffix $found[stem] /)) {
                edit:complex-candidate $head$found[stem] &code-suffix='' &display=$found[stem]
            }
        }
    }
}
