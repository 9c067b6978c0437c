#!/bin/bash
# The rules of the house that a compiler does not know; run from the root of the repository. Prints every violation as
# "file:line: what", then a table of sizes, and ends with 1 when there was one.
#   floors   every #include "..." is an edge of tools/floors.txt and written from the root
#   sizes    no file over 600 lines, no line over 120 columns, no function over 80 lines (function lengths need ctags)
#   style    no unfinished-work marks, tabs or trailing blanks
set -u
export LC_ALL=C.UTF-8
max_lines=600 max_columns=120 max_function=80
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rooms=()
while read -r room _; do
    case $room in ''|'#'*) ;; *) rooms+=("$room") ;; esac
done <tools/floors.txt
find core trainer distill datagen quant tools tests -type f \
    \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.def' -o -name '*.sh' \) 2>/dev/null |
    sort >"$work/all"
grep -E '\.(c|h|cu|cuh)$' "$work/all" >"$work/code"

# floors: CFG_FILE names a file that is included by way of a macro
floors() {
    xargs -r grep -HnE '^[[:space:]]*#[[:space:]]*(include|define[[:space:]]+CFG_FILE)[[:space:]]+"' <"$work/code" |
        awk -v rooms="${rooms[*]}" '
            function room_of(path,   i, best) {
                best = ""
                for (i = 1; i <= n_rooms; i++)
                    if (index(path, room[i] "/") == 1 && length(room[i]) > length(best)) best = room[i]
                return best
            }
            function exists(path,   line) { return (getline line < path) >= 0 ? 1 : 0 }
            BEGIN {
                n_rooms = split(rooms, room, " ")
                while ((getline line < "tools/floors.txt") > 0) {
                    n = split(line, word, " ")
                    for (i = 2; i <= n && word[1] !~ /^#/; i++) allowed[word[1], word[i]] = 1
                }
            }
            {
                split($0, at, ":")
                match($0, /"[^"]*"/)
                to = substr($0, RSTART + 1, RLENGTH - 2)
                from_room = room_of(at[1]); to_room = room_of(to)
                place = at[1] ":" at[2] ": "
                if (from_room == "") print place "lies in no room of tools/floors.txt"
                else if (!exists(to)) print place "includes \"" to "\", which does not exist from the root"
                else if (from_room != to_room && !((from_room, to_room) in allowed) && !((from_room, to) in allowed) &&
                         !((from_room, "*") in allowed))
                    print place from_room " may not include " to " (tools/floors.txt)"
                close(to)
            }'
}

# functions: "room length file:line name" for each
functions() {
    command -v ctags >/dev/null || return 0
    ctags -L "$work/code" --language-force=C --c-kinds=f --fields=+ne -f - --sort=no 2>/dev/null | awk -F '\t' '
        !/^!/ {
            first = last = 0
            for (i = 4; i <= NF; i++) {
                if ($i ~ /^line:/) first = substr($i, 6)
                if ($i ~ /^end:/) last = substr($i, 5)
            }
            if (last > 0) print last - first + 1, $2 ":" first, $1
        }'
}

sizes() {
    while read -r file; do
        lines=$(wc -l <"$file")
        [ "$lines" -le $max_lines ] || echo "$file:$lines: longer than $max_lines lines; split it by thought"
    done <"$work/code"
    xargs -r grep -HnE "^.{$((max_columns + 1)),}" <"$work/code" |
        sed -E "s/^([^:]*:[0-9]+):.*/\1: longer than $max_columns columns/"
    awk -v max=$max_function '$1 > max { print $2 ": " $3 " has " $1 " lines, more than " max }' "$work/functions"
}

style() {
    local marks='TO''DO|FIX''ME|X''XX'
    xargs -r grep -HnwE "$marks" <"$work/all" | sed -E 's/^([^:]*:[0-9]+):.*/\1: unfinished work is not committed/'
    xargs -r grep -Hn "$(printf '\t')" <"$work/all" | sed -E 's/^([^:]*:[0-9]+):.*/\1: a tab/'
    xargs -r grep -HnE ' +$' <"$work/all" | sed -E 's/^([^:]*:[0-9]+):.*/\1: trailing blanks/'
}

median() { sort -n | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] : "-" }'; }

table() {
    printf '%-12s %5s %7s %9s %7s %8s\n' room files lines functions median longest
    for room in "${rooms[@]}" .; do
        local prefix="$room/" name=$room
        if [ "$room" = . ]; then prefix='' name=all; fi
        grep "^$prefix" "$work/code" >"$work/here" || continue
        awk -v p="$prefix" 'index($2, p) == 1 { print $1 }' "$work/functions" >"$work/lengths"
        printf '%-12s %5d %7d %9d %7s %8s\n' "$name" "$(wc -l <"$work/here")" "$(xargs cat <"$work/here" | wc -l)" \
            "$(wc -l <"$work/lengths")" "$(median <"$work/lengths")" "$(sort -n "$work/lengths" | tail -n 1)"
    done
    [ ! -f core/ops/ops.def ] || echo "operations: $(grep -c '^OP(' core/ops/ops.def), each with _ref and _cpu (the linker proves it)"
    command -v ctags >/dev/null || echo 'note: ctags is not installed, lengths of functions were not looked at'
}

functions >"$work/functions"
{ floors; sizes; style; } >"$work/violations"
cat "$work/violations"
table
count=$(wc -l <"$work/violations")
[ "$count" = 0 ] || { echo "check: $count violations"; exit 1; }
echo 'check: floors, sizes and style hold'
