# Completion for fish; installed as share/fish/vendor_completions.d/sshrender.fish.
# made from the commands: python -m docs.diagrams --write

# Print the command that is being typed and, after it, the number of its arguments so far.
function __sshrender_command
    set -l words (commandline -opc)
    set -l found
    set -l count 0
    set -l skips 0
    for word in $words[2..-1]
        if test $skips = 1
            set skips 0
        else if string match -q -- '-*' $word
            contains -- $word $__sshrender_valued; and set skips 1
        else if test -z "$found"; or contains -- "$found" config key
            set found (string join ' ' $found $word)
        else
            set count (math $count + 1)
        end
    end
    echo "$found"
    echo $count
end

# Whether this command is being typed, and optionally its argument of this number.
function __sshrender_is
    set -l now (__sshrender_command)
    test "$now[1]" = "$argv[1]"; or return 1
    test (count $argv) = 1; or test "$now[2]" = "$argv[2]"
end

# Ask the program for names: hosts, jobs or recipes.
function __sshrender_names
    set -l typed (commandline -ct | string replace -r '^--[^=]*=' '')
    string match -qr '^([A-Za-z0-9_.,+][A-Za-z0-9_.,+-]*)?$' -- $typed; or return
    switch $argv[1]
        case hosts
            set -f line sshrender drain
        case jobs
            set -f line sshrender status
        case recipes
            set -f line sshrender render --recipe
    end
    env COMP_WORDS="$line $typed" COMP_CWORD=(count $line) _SSHRENDER_COMPLETE=complete_bash \
        (commandline -opc)[1] 2>/dev/null
end

set -g __sshrender_valued --after --antialias --assemble --avoid --box --by --color --config --deadline --device --dpi --encoder --fallback --gs-option --host --hosts --interval --jobs --jpeg-quality --limit --log-file --mail-to --mail-when --month --not-before --note --older-than --on --output --page --page-memory --page-timeout --pages --password-file --pin --priority --progress --recipe --retries --san --sandbox --size --split --ssh-config --state --user --wait -o -r

complete -c sshrender -f

complete -c sshrender -n '__sshrender_is ""' -a render -d 'Render a PDF now and wait until all pages are delivered.'
complete -c sshrender -n '__sshrender_is ""' -a resume -d 'Continue an unfinished job, from any machine that mounts the shared folder.'
complete -c sshrender -n '__sshrender_is ""' -a submit -d 'Queue jobs and print their names. The command coordinate renders them.'
complete -c sshrender -n '__sshrender_is ""' -a coordinate -d 'Render all jobs in the queue, and those whose coordinator has died.'
complete -c sshrender -n '__sshrender_is ""' -a hold -d 'Pause a job. Pages that are being rendered are finished.'
complete -c sshrender -n '__sshrender_is ""' -a release -d 'Let a held job continue.'
complete -c sshrender -n '__sshrender_is ""' -a cancel -d 'Stop a job. Finished pages stay; resubmit, resume and render continue it.'
complete -c sshrender -n '__sshrender_is ""' -a resubmit -d 'Put a finished job back into the queue. Failed pages are tried again.'
complete -c sshrender -n '__sshrender_is ""' -a alter -d 'Change priority, limit, start conditions or output folder of a job, running or not.'
complete -c sshrender -n '__sshrender_is ""' -a clean -d 'Remove finished jobs from the shared folder. Running, held and queued jobs are never removed.'
complete -c sshrender -n '__sshrender_is ""' -a report -d 'Show usage by user, host, job or month: pages, CPU time and failures, removed jobs included.'
complete -c sshrender -n '__sshrender_is ""' -a init -d 'Write a first inventory, from ~/.ssh/config and your answers, or from the options alone.'
complete -c sshrender -n '__sshrender_is ""' -a hosts -d 'Check every host; one line each, with a command to fix what is wrong.'
complete -c sshrender -n '__sshrender_is ""' -a status -d 'List all jobs, running ones first, or show one in detail.'
complete -c sshrender -n '__sshrender_is ""' -a why -d 'Show all problems of a job and their causes, or the whole history of a page or a host.'
complete -c sshrender -n '__sshrender_is ""' -a overview -d 'Write the HTML overview of a job\'s pages, and print its path.'
complete -c sshrender -n '__sshrender_is ""' -a watch -d 'Open the dashboard of a job, or of all jobs and hosts. Leaving it does not stop a job.'
complete -c sshrender -n '__sshrender_is ""' -a drain -d 'Take a host out of use, for every job; without HOST, list the drained hosts.'
complete -c sshrender -n '__sshrender_is ""' -a undrain -d 'Put a drained host back into use, for every job.'
complete -c sshrender -n '__sshrender_is ""' -a move -d 'Render pages of a running job on this host only, wherever they are now.'
complete -c sshrender -n '__sshrender_is ""' -a man -d 'Show a page of the manual.'
complete -c sshrender -n '__sshrender_is ""' -a config -d 'Settings and inventory: show, find, check.'
complete -c sshrender -n '__sshrender_is ""' -a key -d 'The key that signs your jobs: show it, or copy it to another machine.'
complete -c sshrender -n '__sshrender_is ""' -l version -d 'Print the version.'
complete -c sshrender -n '__sshrender_is ""' -l install-completion -d 'Install completion for the current shell.'
complete -c sshrender -n '__sshrender_is ""' -l show-completion -d 'Show completion for the current shell, to copy it or customize the installation.'
complete -c sshrender -n '__sshrender_is ""' -l help -s h -d 'Show this message and exit.'

complete -c sshrender -n '__sshrender_is "render"' -l output -s o -x -a '(__fish_complete_directories)' -d 'Deliver the pages into this folder.'
complete -c sshrender -n '__sshrender_is "render"' -l overwrite -d 'Replace the pages of another document or of other settings in that folder.'
complete -c sshrender -n '__sshrender_is "render"' -l pages -x -d 'Render only these pages: 1-10,15,20-, odd, even; ^3: not page 3.'
complete -c sshrender -n '__sshrender_is "render"' -l password-file -r -F -d 'File whose first line is the PDF\'s password.'
complete -c sshrender -n '__sshrender_is "render"' -l assemble -x -a 'pdf tiff zip cbz' -d 'Also make one file of all pages.'
complete -c sshrender -n '__sshrender_is "render"' -l overview -d 'Make thumbnails, and write an HTML page that shows all of them.'
complete -c sshrender -n '__sshrender_is "render"' -l no-overview -d 'Turn --overview off.'
complete -c sshrender -n '__sshrender_is "render"' -l overview-embed -d 'Also write an overview that contains its thumbnails, next to the pages; to be mailed.'
complete -c sshrender -n '__sshrender_is "render"' -l split -x -d 'Cut the PDF into parts of N pages; for very large PDFs.'
complete -c sshrender -n '__sshrender_is "render"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "render"' -l on -x -a '(__sshrender_names hosts)' -d 'Use only these hosts, as in node[01-16],big.'
complete -c sshrender -n '__sshrender_is "render"' -l avoid -x -a '(__sshrender_names hosts)' -d 'Do not use these hosts.'
complete -c sshrender -n '__sshrender_is "render"' -l pin -x -d 'Render these pages only on these hosts: 1-3=node[01-04]. May be repeated.'
complete -c sshrender -n '__sshrender_is "render"' -l mixed -d 'Also use hosts whose test page looks different.'
complete -c sshrender -n '__sshrender_is "render"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "render"' -l ssh-config -r -F -d 'Read this file instead of the user\'s ssh_config.'
complete -c sshrender -n '__sshrender_is "render"' -l dpi -s r -x -d 'Resolution in dots per inch, or two: 204x98.'
complete -c sshrender -n '__sshrender_is "render"' -l device -x -a 'png16m png16malpha png256 png16 png48 pngalpha pnggray pngmono pngmonod jpeg jpeggray jpegcmyk tiffgray tiff12nc tiff24nc tiff32nc tiff48nc tiff64nc tiffcrle tiffg3 tiffg32d tiffg4 tifflzw tiffpack tiffscaled tiffscaled4 tiffscaled8 tiffscaled24 tiffscaled32 bmpmono bmpgray bmp16 bmp256 bmp16m bmp32b pbm pbmraw pgm pgmraw ppm ppmraw pgnm pgnmraw pnm pnmraw pkm pkmraw pam pamcmyk4 pamcmyk32 pcxmono pcxgray pcx16 pcx256 pcx24b pcxcmyk psdrgb psdrgb16 psdcmyk psdcmyk16 psdcmykog xcf xcfcmyk miff24 bit bitrgb bitcmyk' -d 'Ghostscript raster device, which decides the file format.'
complete -c sshrender -n '__sshrender_is "render"' -l antialias -x -a 'auto none 2 4' -d 'Smooth text and graphics; auto: 4 on devices of 8 bits a component up to 200 dpi.'
complete -c sshrender -n '__sshrender_is "render"' -l box -x -a 'media crop trim bleed art' -d 'Render this box of each page.'
complete -c sshrender -n '__sshrender_is "render"' -l size -x -d 'Fit each page into this size: A4, 210x297mm, 1240x1754px.'
complete -c sshrender -n '__sshrender_is "render"' -l jpeg-quality -x -d 'Quality of JPEG files, 0 to 100.'
complete -c sshrender -n '__sshrender_is "render"' -l encoder -x -a 'auto ghostscript' -d 'What writes PNG files: a fast encoder of our own (auto), or Ghostscript; same pixels.'
complete -c sshrender -n '__sshrender_is "render"' -l gs-option -x -d 'Further switch for Ghostscript: -dNAME=VALUE or -sNAME=VALUE. May be repeated.'
complete -c sshrender -n '__sshrender_is "render"' -l recipe -x -a '(__sshrender_names recipes)' -d 'Render with this recipe (another program) instead of Ghostscript.'
complete -c sshrender -n '__sshrender_is "render"' -l fallback -x -a '(__sshrender_names recipes)' -d 'Recipe for pages that the first renderer cannot render. May be repeated.'
complete -c sshrender -n '__sshrender_is "render"' -l sandbox -x -a 'none bwrap' -d 'Run renderers in bubblewrap; they see only the document, their pages and the fonts.'
complete -c sshrender -n '__sshrender_is "render"' -l page-memory -x -d 'Most memory for one renderer.'
complete -c sshrender -n '__sshrender_is "render"' -l retries -x -d 'On how many hosts to try a page before it counts as failed.'
complete -c sshrender -n '__sshrender_is "render"' -l page-timeout -x -d 'Longest time for one page.'
complete -c sshrender -n '__sshrender_is "render"' -l wait -x -d 'How long to wait for an idle host.'
complete -c sshrender -n '__sshrender_is "render"' -l deadline -x -d 'Stop after this time; a later run continues.'
complete -c sshrender -n '__sshrender_is "render"' -l strict -d 'Count a page as failed if the renderer reported a problem with it.'
complete -c sshrender -n '__sshrender_is "render"' -l hedge -d 'Near the end, let free hosts repeat slow pages; the first result wins.'
complete -c sshrender -n '__sshrender_is "render"' -l no-hedge -d 'Turn --hedge off.'
complete -c sshrender -n '__sshrender_is "render"' -l priority -x -d 'Jobs with a higher number get slots first: -1024 to 1023.'
complete -c sshrender -n '__sshrender_is "render"' -l limit -x -d 'Render at most N pages at a time, on all hosts together.'
complete -c sshrender -n '__sshrender_is "render"' -l mail-to -x -d 'Send mail to this address when the job ends.'
complete -c sshrender -n '__sshrender_is "render"' -l mail-when -x -a 'always failure' -d 'Send that mail always, or only if the job failed.'
complete -c sshrender -n '__sshrender_is "render"' -l progress -x -a 'auto tui board plain jsonl none' -d 'How to show progress: auto, tui, board, plain, jsonl or none.'
complete -c sshrender -n '__sshrender_is "render"' -l quiet -s q -d 'Print nothing if all is well.'
complete -c sshrender -n '__sshrender_is "render"' -l verbose -s v -d 'Print more; -vv: also the command lines of ssh and Ghostscript.'
complete -c sshrender -n '__sshrender_is "render"' -l stats -d 'Print bytes, pages a second, CPU time, retries and the slowest pages at the end.'
complete -c sshrender -n '__sshrender_is "render"' -l color -x -a 'auto always never' -d 'Use colours.'
complete -c sshrender -n '__sshrender_is "render"' -l log-file -r -F -d 'Write the traceback of a bug to this file.'
complete -c sshrender -n '__sshrender_is "render"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "render"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "render"' -l dry-run -d 'Print the plan, the hosts and the space needed; render nothing.'
complete -c sshrender -n '__sshrender_is "render"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "render"' -k -a '(__fish_complete_suffix .pdf)'

complete -c sshrender -n '__sshrender_is "resume"' -l output -s o -x -a '(__fish_complete_directories)' -d 'Deliver the pages into this folder.'
complete -c sshrender -n '__sshrender_is "resume"' -l overwrite -d 'Replace the pages of another document or of other settings in that folder.'
complete -c sshrender -n '__sshrender_is "resume"' -l password-file -r -F -d 'File whose first line is the PDF\'s password.'
complete -c sshrender -n '__sshrender_is "resume"' -l assemble -x -a 'pdf tiff zip cbz' -d 'Also make one file of all pages.'
complete -c sshrender -n '__sshrender_is "resume"' -l overview -d 'Make thumbnails, and write an HTML page that shows all of them.'
complete -c sshrender -n '__sshrender_is "resume"' -l no-overview -d 'Turn --overview off.'
complete -c sshrender -n '__sshrender_is "resume"' -l overview-embed -d 'Also write an overview that contains its thumbnails, next to the pages; to be mailed.'
complete -c sshrender -n '__sshrender_is "resume"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "resume"' -l on -x -a '(__sshrender_names hosts)' -d 'Use only these hosts, as in node[01-16],big.'
complete -c sshrender -n '__sshrender_is "resume"' -l avoid -x -a '(__sshrender_names hosts)' -d 'Do not use these hosts.'
complete -c sshrender -n '__sshrender_is "resume"' -l pin -x -d 'Render these pages only on these hosts: 1-3=node[01-04]. May be repeated.'
complete -c sshrender -n '__sshrender_is "resume"' -l mixed -d 'Also use hosts whose test page looks different.'
complete -c sshrender -n '__sshrender_is "resume"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "resume"' -l ssh-config -r -F -d 'Read this file instead of the user\'s ssh_config.'
complete -c sshrender -n '__sshrender_is "resume"' -l sandbox -x -a 'none bwrap' -d 'Run renderers in bubblewrap; they see only the document, their pages and the fonts.'
complete -c sshrender -n '__sshrender_is "resume"' -l page-memory -x -d 'Most memory for one renderer.'
complete -c sshrender -n '__sshrender_is "resume"' -l retries -x -d 'On how many hosts to try a page before it counts as failed.'
complete -c sshrender -n '__sshrender_is "resume"' -l page-timeout -x -d 'Longest time for one page.'
complete -c sshrender -n '__sshrender_is "resume"' -l wait -x -d 'How long to wait for an idle host.'
complete -c sshrender -n '__sshrender_is "resume"' -l deadline -x -d 'Stop after this time; a later run continues.'
complete -c sshrender -n '__sshrender_is "resume"' -l strict -d 'Count a page as failed if the renderer reported a problem with it.'
complete -c sshrender -n '__sshrender_is "resume"' -l hedge -d 'Near the end, let free hosts repeat slow pages; the first result wins.'
complete -c sshrender -n '__sshrender_is "resume"' -l no-hedge -d 'Turn --hedge off.'
complete -c sshrender -n '__sshrender_is "resume"' -l priority -x -d 'Jobs with a higher number get slots first: -1024 to 1023.'
complete -c sshrender -n '__sshrender_is "resume"' -l limit -x -d 'Render at most N pages at a time, on all hosts together.'
complete -c sshrender -n '__sshrender_is "resume"' -l mail-to -x -d 'Send mail to this address when the job ends.'
complete -c sshrender -n '__sshrender_is "resume"' -l mail-when -x -a 'always failure' -d 'Send that mail always, or only if the job failed.'
complete -c sshrender -n '__sshrender_is "resume"' -l progress -x -a 'auto tui board plain jsonl none' -d 'How to show progress: auto, tui, board, plain, jsonl or none.'
complete -c sshrender -n '__sshrender_is "resume"' -l quiet -s q -d 'Print nothing if all is well.'
complete -c sshrender -n '__sshrender_is "resume"' -l verbose -s v -d 'Print more; -vv: also the command lines of ssh and Ghostscript.'
complete -c sshrender -n '__sshrender_is "resume"' -l stats -d 'Print bytes, pages a second, CPU time, retries and the slowest pages at the end.'
complete -c sshrender -n '__sshrender_is "resume"' -l color -x -a 'auto always never' -d 'Use colours.'
complete -c sshrender -n '__sshrender_is "resume"' -l log-file -r -F -d 'Write the traceback of a bug to this file.'
complete -c sshrender -n '__sshrender_is "resume"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "resume"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "resume"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "resume" 0' -a '(__sshrender_names jobs)'

complete -c sshrender -n '__sshrender_is "submit"' -l output -s o -x -a '(__fish_complete_directories)' -d 'Deliver the pages into this folder.'
complete -c sshrender -n '__sshrender_is "submit"' -l overwrite -d 'Replace the pages of another document or of other settings in that folder.'
complete -c sshrender -n '__sshrender_is "submit"' -l pages -x -d 'Render only these pages: 1-10,15,20-, odd, even; ^3: not page 3.'
complete -c sshrender -n '__sshrender_is "submit"' -l password-file -r -F -d 'File whose first line is the PDF\'s password.'
complete -c sshrender -n '__sshrender_is "submit"' -l assemble -x -a 'pdf tiff zip cbz' -d 'Also make one file of all pages.'
complete -c sshrender -n '__sshrender_is "submit"' -l overview -d 'Make thumbnails, and write an HTML page that shows all of them.'
complete -c sshrender -n '__sshrender_is "submit"' -l no-overview -d 'Turn --overview off.'
complete -c sshrender -n '__sshrender_is "submit"' -l overview-embed -d 'Also write an overview that contains its thumbnails, next to the pages; to be mailed.'
complete -c sshrender -n '__sshrender_is "submit"' -l split -x -d 'Cut the PDF into parts of N pages; for very large PDFs.'
complete -c sshrender -n '__sshrender_is "submit"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "submit"' -l on -x -a '(__sshrender_names hosts)' -d 'Use only these hosts, as in node[01-16],big.'
complete -c sshrender -n '__sshrender_is "submit"' -l avoid -x -a '(__sshrender_names hosts)' -d 'Do not use these hosts.'
complete -c sshrender -n '__sshrender_is "submit"' -l pin -x -d 'Render these pages only on these hosts: 1-3=node[01-04]. May be repeated.'
complete -c sshrender -n '__sshrender_is "submit"' -l mixed -d 'Also use hosts whose test page looks different.'
complete -c sshrender -n '__sshrender_is "submit"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "submit"' -l ssh-config -r -F -d 'Read this file instead of the user\'s ssh_config.'
complete -c sshrender -n '__sshrender_is "submit"' -l dpi -s r -x -d 'Resolution in dots per inch, or two: 204x98.'
complete -c sshrender -n '__sshrender_is "submit"' -l device -x -a 'png16m png16malpha png256 png16 png48 pngalpha pnggray pngmono pngmonod jpeg jpeggray jpegcmyk tiffgray tiff12nc tiff24nc tiff32nc tiff48nc tiff64nc tiffcrle tiffg3 tiffg32d tiffg4 tifflzw tiffpack tiffscaled tiffscaled4 tiffscaled8 tiffscaled24 tiffscaled32 bmpmono bmpgray bmp16 bmp256 bmp16m bmp32b pbm pbmraw pgm pgmraw ppm ppmraw pgnm pgnmraw pnm pnmraw pkm pkmraw pam pamcmyk4 pamcmyk32 pcxmono pcxgray pcx16 pcx256 pcx24b pcxcmyk psdrgb psdrgb16 psdcmyk psdcmyk16 psdcmykog xcf xcfcmyk miff24 bit bitrgb bitcmyk' -d 'Ghostscript raster device, which decides the file format.'
complete -c sshrender -n '__sshrender_is "submit"' -l antialias -x -a 'auto none 2 4' -d 'Smooth text and graphics; auto: 4 on devices of 8 bits a component up to 200 dpi.'
complete -c sshrender -n '__sshrender_is "submit"' -l box -x -a 'media crop trim bleed art' -d 'Render this box of each page.'
complete -c sshrender -n '__sshrender_is "submit"' -l size -x -d 'Fit each page into this size: A4, 210x297mm, 1240x1754px.'
complete -c sshrender -n '__sshrender_is "submit"' -l jpeg-quality -x -d 'Quality of JPEG files, 0 to 100.'
complete -c sshrender -n '__sshrender_is "submit"' -l encoder -x -a 'auto ghostscript' -d 'What writes PNG files: a fast encoder of our own (auto), or Ghostscript; same pixels.'
complete -c sshrender -n '__sshrender_is "submit"' -l gs-option -x -d 'Further switch for Ghostscript: -dNAME=VALUE or -sNAME=VALUE. May be repeated.'
complete -c sshrender -n '__sshrender_is "submit"' -l recipe -x -a '(__sshrender_names recipes)' -d 'Render with this recipe (another program) instead of Ghostscript.'
complete -c sshrender -n '__sshrender_is "submit"' -l fallback -x -a '(__sshrender_names recipes)' -d 'Recipe for pages that the first renderer cannot render. May be repeated.'
complete -c sshrender -n '__sshrender_is "submit"' -l sandbox -x -a 'none bwrap' -d 'Run renderers in bubblewrap; they see only the document, their pages and the fonts.'
complete -c sshrender -n '__sshrender_is "submit"' -l page-memory -x -d 'Most memory for one renderer.'
complete -c sshrender -n '__sshrender_is "submit"' -l retries -x -d 'On how many hosts to try a page before it counts as failed.'
complete -c sshrender -n '__sshrender_is "submit"' -l page-timeout -x -d 'Longest time for one page.'
complete -c sshrender -n '__sshrender_is "submit"' -l wait -x -d 'How long to wait for an idle host.'
complete -c sshrender -n '__sshrender_is "submit"' -l deadline -x -d 'Stop after this time; a later run continues.'
complete -c sshrender -n '__sshrender_is "submit"' -l strict -d 'Count a page as failed if the renderer reported a problem with it.'
complete -c sshrender -n '__sshrender_is "submit"' -l hedge -d 'Near the end, let free hosts repeat slow pages; the first result wins.'
complete -c sshrender -n '__sshrender_is "submit"' -l no-hedge -d 'Turn --hedge off.'
complete -c sshrender -n '__sshrender_is "submit"' -l priority -x -d 'Jobs with a higher number get slots first: -1024 to 1023.'
complete -c sshrender -n '__sshrender_is "submit"' -l limit -x -d 'Render at most N pages at a time, on all hosts together.'
complete -c sshrender -n '__sshrender_is "submit"' -l mail-to -x -d 'Send mail to this address when the job ends.'
complete -c sshrender -n '__sshrender_is "submit"' -l mail-when -x -a 'always failure' -d 'Send that mail always, or only if the job failed.'
complete -c sshrender -n '__sshrender_is "submit"' -l quiet -s q -d 'Print nothing if all is well.'
complete -c sshrender -n '__sshrender_is "submit"' -l verbose -s v -d 'Print more; -vv: also the command lines of ssh and Ghostscript.'
complete -c sshrender -n '__sshrender_is "submit"' -l log-file -r -F -d 'Write the traceback of a bug to this file.'
complete -c sshrender -n '__sshrender_is "submit"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "submit"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "submit"' -l hold -d 'Queue the jobs, but do not start them before they are released.'
complete -c sshrender -n '__sshrender_is "submit"' -l after -x -a '(__sshrender_names jobs)' -d 'Start only after this job has ended. May be repeated.'
complete -c sshrender -n '__sshrender_is "submit"' -l not-before -x -d 'Start only after this time: 22:30, 2026-01-31 22:30, or 2h from now.'
complete -c sshrender -n '__sshrender_is "submit"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "submit"' -k -a '(__fish_complete_suffix .pdf)'

complete -c sshrender -n '__sshrender_is "coordinate"' -l once -d 'End when no job is waiting any more (for cron).'
complete -c sshrender -n '__sshrender_is "coordinate"' -l jobs -x -d 'Jobs at the same time.'
complete -c sshrender -n '__sshrender_is "coordinate"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "coordinate"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "coordinate"' -l quiet -s q -d 'Print nothing if all is well.'
complete -c sshrender -n '__sshrender_is "coordinate"' -l verbose -s v -d 'Print more; -vv: also the command lines of ssh and Ghostscript.'
complete -c sshrender -n '__sshrender_is "coordinate"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "coordinate"' -l log-file -r -F -d 'Write the traceback of a bug to this file.'
complete -c sshrender -n '__sshrender_is "coordinate"' -l ssh-config -r -F -d 'Read this file instead of the user\'s ssh_config.'
complete -c sshrender -n '__sshrender_is "coordinate"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "coordinate"' -l help -s h -d 'Show this message and exit.'

complete -c sshrender -n '__sshrender_is "hold"' -l note -x -d 'Reason, shown to other users.'
complete -c sshrender -n '__sshrender_is "hold"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "hold"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "hold"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "hold"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "hold"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "hold"' -a '(__sshrender_names jobs)'

complete -c sshrender -n '__sshrender_is "release"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "release"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "release"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "release"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "release"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "release"' -a '(__sshrender_names jobs)'

complete -c sshrender -n '__sshrender_is "cancel"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "cancel"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "cancel"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "cancel"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "cancel"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "cancel"' -a '(__sshrender_names jobs)'

complete -c sshrender -n '__sshrender_is "resubmit"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "resubmit"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "resubmit"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "resubmit"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "resubmit"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "resubmit"' -a '(__sshrender_names jobs)'

complete -c sshrender -n '__sshrender_is "alter"' -l priority -x -d 'Jobs with a higher number get slots first: -1024 to 1023.'
complete -c sshrender -n '__sshrender_is "alter"' -l limit -x -d 'At most N pages at a time; none removes the limit.'
complete -c sshrender -n '__sshrender_is "alter"' -l after -x -a '(__sshrender_names jobs)' -d 'Start only after this job has ended. May be repeated.'
complete -c sshrender -n '__sshrender_is "alter"' -l not-before -x -d 'Start only after this time: 22:30, 2026-01-31 22:30, or 2h from now.'
complete -c sshrender -n '__sshrender_is "alter"' -l output -s o -x -a '(__fish_complete_directories)' -d 'Deliver the pages into this folder.'
complete -c sshrender -n '__sshrender_is "alter"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "alter"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "alter"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "alter"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "alter"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "alter"' -a '(__sshrender_names jobs)'

complete -c sshrender -n '__sshrender_is "clean"' -l older-than -x -d 'Only jobs unchanged for this long, as in 30d.'
complete -c sshrender -n '__sshrender_is "clean"' -l dry-run -d 'List the jobs; remove nothing.'
complete -c sshrender -n '__sshrender_is "clean"' -l yes -s y -d 'Remove unfinished jobs, too, without asking.'
complete -c sshrender -n '__sshrender_is "clean"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "clean"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "clean"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "clean"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "clean"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "clean"' -a '(__sshrender_names jobs)'

complete -c sshrender -n '__sshrender_is "report"' -l by -x -a 'job user host month' -d 'Any of job, user, host and month, separated by commas.'
complete -c sshrender -n '__sshrender_is "report"' -l month -x -d 'Only this month, as in 2026-01.'
complete -c sshrender -n '__sshrender_is "report"' -l user -x -d 'Only the jobs of this user.'
complete -c sshrender -n '__sshrender_is "report"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "report"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "report"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "report"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "report"' -l help -s h -d 'Show this message and exit.'

complete -c sshrender -n '__sshrender_is "init"' -l hosts -r -F -d 'Write this file.'
complete -c sshrender -n '__sshrender_is "init"' -l san -x -a '(__fish_complete_directories)' -d 'Folder that all hosts mount.'
complete -c sshrender -n '__sshrender_is "init"' -l no-san -d 'The hosts share no folder: files travel by SFTP.'
complete -c sshrender -n '__sshrender_is "init"' -l host -x -d 'A host or node set. May be repeated.'
complete -c sshrender -n '__sshrender_is "init"' -l user -x -d 'User to log in as.'
complete -c sshrender -n '__sshrender_is "init"' -l ssh-config -r -F -d 'Read this file instead of the user\'s ssh_config.'
complete -c sshrender -n '__sshrender_is "init"' -l yes -s y -d 'Do not ask; use the hosts of ssh_config.'
complete -c sshrender -n '__sshrender_is "init"' -l force -d 'Replace an existing file.'
complete -c sshrender -n '__sshrender_is "init"' -l check -d 'Check the folder and every host.'
complete -c sshrender -n '__sshrender_is "init"' -l no-check -d 'Turn --check off.'
complete -c sshrender -n '__sshrender_is "init"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "init"' -l help -s h -d 'Show this message and exit.'

complete -c sshrender -n '__sshrender_is "hosts"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "hosts"' -l on -x -a '(__sshrender_names hosts)' -d 'Use only these hosts, as in node[01-16],big.'
complete -c sshrender -n '__sshrender_is "hosts"' -l avoid -x -a '(__sshrender_names hosts)' -d 'Do not use these hosts.'
complete -c sshrender -n '__sshrender_is "hosts"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "hosts"' -l sandbox -x -a 'none bwrap' -d 'Run renderers in bubblewrap; they see only the document, their pages and the fonts.'
complete -c sshrender -n '__sshrender_is "hosts"' -l watch -d 'Check again every five seconds, until interrupted.'
complete -c sshrender -n '__sshrender_is "hosts"' -l verbose -s v -d 'Print more; -vv: also the command lines of ssh and Ghostscript.'
complete -c sshrender -n '__sshrender_is "hosts"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "hosts"' -l ssh-config -r -F -d 'Read this file instead of the user\'s ssh_config.'
complete -c sshrender -n '__sshrender_is "hosts"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "hosts"' -l help -s h -d 'Show this message and exit.'

complete -c sshrender -n '__sshrender_is "status"' -l state -x -a 'running paused queued held failed partial cancelled done removed' -d 'List only jobs in these states, as in running,queued. May be repeated.'
complete -c sshrender -n '__sshrender_is "status"' -l user -x -d 'List only the jobs of this user.'
complete -c sshrender -n '__sshrender_is "status"' -l all -d 'Add the CPU time of each job; include removed jobs.'
complete -c sshrender -n '__sshrender_is "status"' -l stats -d 'Add bytes, speed, CPU time and the slowest pages of JOB.'
complete -c sshrender -n '__sshrender_is "status"' -l watch -d 'Show it again and again, until interrupted.'
complete -c sshrender -n '__sshrender_is "status"' -l interval -x -d 'Time between two tables with --watch.'
complete -c sshrender -n '__sshrender_is "status"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "status"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "status"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "status"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "status"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "status" 0' -a '(__sshrender_names jobs)'

complete -c sshrender -n '__sshrender_is "why"' -l page -x -d 'The history of this page.'
complete -c sshrender -n '__sshrender_is "why"' -l host -x -a '(__sshrender_names hosts)' -d 'The history of this host.'
complete -c sshrender -n '__sshrender_is "why"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "why"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "why"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "why"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "why"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "why" 0' -a '(__sshrender_names jobs)'

complete -c sshrender -n '__sshrender_is "overview"' -l embed -d 'Write one that contains its thumbnails, next to the pages.'
complete -c sshrender -n '__sshrender_is "overview"' -s o -l output -r -F -d 'Write that one to this file instead.'
complete -c sshrender -n '__sshrender_is "overview"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "overview"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "overview"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "overview"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "overview"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "overview" 0' -a '(__sshrender_names jobs)'

complete -c sshrender -n '__sshrender_is "watch"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "watch"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "watch"' -l verbose -s v -d 'Print more; -vv: also the command lines of ssh and Ghostscript.'
complete -c sshrender -n '__sshrender_is "watch"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "watch"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "watch"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "watch" 0' -a '(__sshrender_names jobs)'

complete -c sshrender -n '__sshrender_is "drain"' -l note -x -d 'Reason, shown to other users.'
complete -c sshrender -n '__sshrender_is "drain"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "drain"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "drain"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "drain"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "drain"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "drain" 0' -a '(__sshrender_names hosts)'

complete -c sshrender -n '__sshrender_is "undrain"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "undrain"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "undrain"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "undrain"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "undrain"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "undrain" 0' -a '(__sshrender_names hosts)'

complete -c sshrender -n '__sshrender_is "move"' -l hosts -r -F -d 'Inventory: the file that lists the hosts.'
complete -c sshrender -n '__sshrender_is "move"' -l san -x -a '(__fish_complete_directories)' -d 'Shared folder, as this machine sees it.'
complete -c sshrender -n '__sshrender_is "move"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "move"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "move"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "move" 0' -a '(__sshrender_names jobs)'
complete -c sshrender -n '__sshrender_is "move" 2' -a '(__sshrender_names hosts)'

complete -c sshrender -n '__sshrender_is "man"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "man"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "man" 0' -a 'sshrender render watch hosts job queue 7'

complete -c sshrender -n '__sshrender_is "config"' -a show -d 'Show every setting and where its value comes from.'
complete -c sshrender -n '__sshrender_is "config"' -a path -d 'Show the files that configuration is read from, and which of them exist.'
complete -c sshrender -n '__sshrender_is "config"' -a validate -d 'Check files; without FILE, all files that a run here would read.'
complete -c sshrender -n '__sshrender_is "config"' -a schema -d 'Print the JSON Schema of an inventory, of the settings, or of what --json prints.'
complete -c sshrender -n '__sshrender_is "config"' -a values -d 'List the values that a setting may have: devices, recipes, words, or the form of a number.'
complete -c sshrender -n '__sshrender_is "config"' -l help -s h -d 'Show this message and exit.'

complete -c sshrender -n '__sshrender_is "config show"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "config show"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "config show"' -l help -s h -d 'Show this message and exit.'

complete -c sshrender -n '__sshrender_is "config path"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "config path"' -l help -s h -d 'Show this message and exit.'

complete -c sshrender -n '__sshrender_is "config validate"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "config validate"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "config validate"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "config validate"' -r -F

complete -c sshrender -n '__sshrender_is "config schema"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "config schema"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "config schema" 0' -a 'hosts settings results'

complete -c sshrender -n '__sshrender_is "config values"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "config values"' -l config -r -F -d 'Settings file that takes precedence over all others.'
complete -c sshrender -n '__sshrender_is "config values"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "config values"' -a 'output overwrite pages password_file assemble overview overview_embed split hosts on avoid pin mixed san ssh_config dpi device antialias box size jpeg_quality encoder gs_options recipe fallback sandbox page_memory retries page_timeout wait deadline strict hedge priority limit mail_to mail_when progress quiet verbose stats color log_file recipes recipes_allowed on_done'

complete -c sshrender -n '__sshrender_is "key"' -a show -d 'Print the key, to be imported on another machine; create it if there is none.'
complete -c sshrender -n '__sshrender_is "key"' -a import -d 'Import a key from another machine, so that this machine can run its jobs.'
complete -c sshrender -n '__sshrender_is "key"' -a path -d 'Print the path of the key, and on standard error its fingerprint.'
complete -c sshrender -n '__sshrender_is "key"' -l help -s h -d 'Show this message and exit.'

complete -c sshrender -n '__sshrender_is "key show"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "key show"' -l help -s h -d 'Show this message and exit.'

complete -c sshrender -n '__sshrender_is "key import"' -l force -d 'Replace an existing key.'
complete -c sshrender -n '__sshrender_is "key import"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "key import"' -l help -s h -d 'Show this message and exit.'
complete -c sshrender -n '__sshrender_is "key import" 0' -r -F

complete -c sshrender -n '__sshrender_is "key path"' -l json -d 'Print one JSON object on standard output.'
complete -c sshrender -n '__sshrender_is "key path"' -l help -s h -d 'Show this message and exit.'
