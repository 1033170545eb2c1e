# SPDX-License-Identifier: MIT
# fish completion of unproxy(8)

set -l commands run check routes health send parse demo help
set -l none "not __fish_seen_subcommand_from $commands"
set -l configured '__fish_seen_subcommand_from run check routes health'
set -l flags '__fish_seen_subcommand_from run check'

complete -c unproxy -f
complete -c unproxy -n $none -a run -d 'Accept connections, remove the header, relay the rest'
complete -c unproxy -n $none -a check -d 'Validate a configuration and say what would run'
complete -c unproxy -n $none -a routes -d 'What transparent mode needs of the kernel'
complete -c unproxy -n $none -a health -d 'Ask a running unproxy whether it is alive, or ready'
complete -c unproxy -n $none -a send -d 'Connect and send a header'
complete -c unproxy -n $none -a parse -d 'Decode one header'
complete -c unproxy -n $none -a demo -d 'Try it'
complete -c unproxy -n $none -a help -d 'What a command does and takes'
complete -c unproxy -n $none -s c -r -F -d 'Run with this configuration'
complete -c unproxy -n $none -l version -d 'Version'
complete -c unproxy -l help -d 'Help'

complete -c unproxy -n $configured -s c -r -F -d Configuration
complete -c unproxy -n $flags -l listen -x -d 'Accept connections here'
complete -c unproxy -n $flags -l upstream -x -d 'The application'
complete -c unproxy -n $flags -l trust -x -d 'Who may send headers'
complete -c unproxy -n $flags -l transparent -d "Connect from the client's address"
complete -c unproxy -n '__fish_seen_subcommand_from check' -l no-probe -d 'Validate only'

set -l routes '__fish_seen_subcommand_from routes'
complete -c unproxy -n "$routes; and not __fish_seen_subcommand_from up down status" -a 'up down status'
complete -c unproxy -n $routes -l dry-run -d 'Print commands, change nothing'

set -l health '__fish_seen_subcommand_from health'
complete -c unproxy -n $health -l ready -d 'Ask for /readyz'
complete -c unproxy -n $health -l timeout-ms -x -d 'Give up after so many milliseconds'

set -l send '__fish_seen_subcommand_from send'
complete -c unproxy -n $send -l v1 -d 'Version 1'
complete -c unproxy -n $send -l v2 -d 'Version 2'
complete -c unproxy -n $send -l src -x -d Source
complete -c unproxy -n $send -l dst -x -d Destination
complete -c unproxy -n $send -l local -d 'Command LOCAL'
complete -c unproxy -n $send -l unknown -d 'No addresses'
complete -c unproxy -n $send -l alpn -x -d Protocol
complete -c unproxy -n $send -l authority -x -d 'Host name'
complete -c unproxy -n $send -l unique-id -x -d 'Hex digits'
complete -c unproxy -n $send -l vpce -x -d 'AWS endpoint'
complete -c unproxy -n $send -l tlv -x -d 'Any other, TYPE=HEX'
complete -c unproxy -n $send -l crc32c -d Checksum

complete -c unproxy -n '__fish_seen_subcommand_from parse' -F
complete -c unproxy -n '__fish_seen_subcommand_from parse' -l hex -d 'The input is hex digits'

set -l demo '__fish_seen_subcommand_from demo'
complete -c unproxy -n $demo -l listen -x -d 'Accept connections here'
complete -c unproxy -n $demo -l once -d 'Exit after one request'

complete -c unproxy -n '__fish_seen_subcommand_from help' -a "$commands"
