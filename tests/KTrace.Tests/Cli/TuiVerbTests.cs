using System.Diagnostics;
using KTrace.Tests.Boot;
using KTrace.Tests.Support;
using KTrace.Tracing;
using KTrace.Tui.Terminal;
using Trace = KTrace.Tracing.Trace;

namespace KTrace.Tests.Cli;

/// <summary>ktrace tui in a real terminal, with keys as from a keyboard.</summary>
[Collection(nameof(BootsCollection))]
public sealed class TuiVerbTests : IDisposable
{
    private static readonly TerminalSize s_small = new(80, 24);

    private readonly KTraceProgram _program = new();
    private readonly string _marker = "ktrace-tui-" + Guid.NewGuid().ToString("n");

    public void Dispose() => _program.Dispose();

    [Fact]
    public async Task A_session_boots_breaks_steps_finishes_marks_two_hits_compares_them_and_leaves_a_sane_terminal()
    {
        using var terminal = Terminal(s_small);
        terminal.Run("stty -g > before");
        terminal.Run($"{KTraceProgram.InShell} tui e1000e-msix -- -name {_marker}");
        await terminal.UntilShowsAsync("● connected");

        terminal.Run(":b x86_vector_msi_compose_msg");
        await terminal.UntilShowsAsync("x86_vector_msi_compose_msg at 0x");
        terminal.Send("c");
        await terminal.UntilShowsAsync("● breakpoint 1, x86_vector_msi_compose_msg");
        await terminal.UntilShowsAsync("#0 x86_vector_msi_compose_msg");
        terminal.Send("s");
        await terminal.UntilShowsAsync("● step");
        terminal.Send("f");
        await terminal.UntilShowsAsync("● x86_vector_msi_compose_msg has returned");
        terminal.Send("c");
        await terminal.UntilShowsAsync("● breakpoint 1, x86_vector_msi_compose_msg");

        terminal.Send("3");
        await terminal.UntilShowsAsync("━ [hits]");
        terminal.Send("g", "m", "j", "m", "d");
        var compared = await terminal.UntilShowsAsync("A  hit 1  x86_vector_msi_compose_msg");
        Assert.Contains("B  hit 2  x86_vector_msi_compose_msg", compared, StringComparison.Ordinal);

        // On a busy host the kernel may set its timer up a second time, by the same path: of the path itself what both cases show.
        await terminal.UntilShowsAsync("start_kernel");

        terminal.Run(":save two.ktrace");
        await terminal.UntilShowsAsync("saved as two.ktrace");
        Assert.Equal(2, Trace.Load(_program.PathOf("two.ktrace")).Hits.Count);

        // A live guest would end: that is asked, and anything but y is no.
        terminal.Send("q");
        await terminal.UntilShowsAsync("quit and end the guest?");
        terminal.Send("n", "q");
        await terminal.UntilShowsAsync("quit and end the guest?");
        Assert.NotEmpty(KTraceProgram.Processes(_marker));
        terminal.Send("y");
        await AssertSaneAsync(terminal);
        Assert.Empty(KTraceProgram.Processes(_marker));

        // The same scenario has its breakpoints and its layout again; a kill gives the terminal back and takes the guest along.
        terminal.Run($"{KTraceProgram.InShell} tui e1000e-msix -- -name {_marker}");
        await terminal.UntilShowsAsync("● connected");
        await terminal.UntilShowsAsync("3 diff");
        terminal.Send("c");
        await terminal.UntilShowsAsync("● breakpoint 1, x86_vector_msi_compose_msg");
        terminal.Run(":p no_such_name");
        await terminal.UntilShowsAsync("no_such_name");
        foreach (var id in KTraceProgram.Processes(_marker))
        {
            Process.GetProcessById(id).Kill();
        }

        await terminal.UntilShowsAsync("QEMU ended with exit code 137");
        terminal.Send("q");
        await AssertSaneAsync(terminal);
        Assert.Empty(KTraceProgram.Processes(_marker));
    }

    [Fact]
    public async Task A_trace_needs_no_QEMU_and_shows_its_hits_at_once()
    {
        using var terminal = Terminal(s_small);
        var trace = Path.Combine(Repository.Root, "traces", "e1000e-msix.ktrace");
        terminal.Run("stty -g > before");

        // dotnet alone: neither QEMU nor a kernel is to be found.
        terminal.Run($"PATH={Path.GetDirectoryName(ProgramPath("dotnet"))} XDG_CACHE_HOME=/nonexistent {KTraceProgram.InShell} tui '{trace}#16'");
        await terminal.UntilShowsAsync("29 hits");
        var hit = TraceQuery.Pick(trace, new HitPick.Number(16)).Hit;
        await terminal.UntilShowsAsync("#0 " + hit.Path.Frames[0].Function);
        await terminal.UntilShowsAsync("16/29");
        terminal.Send("s");
        await terminal.UntilShowsAsync("trace");
        terminal.Send("q");
        await AssertSaneAsync(terminal);

        terminal.Run($"{KTraceProgram.InShell} tui nonsense.ktrace");
        await terminal.UntilShowsAsync("nonsense.ktrace: there is no such trace");
    }

    [Fact]
    public void Without_a_terminal_the_verbs_for_that_are_named()
    {
        var run = _program.Run("tui", Path.Combine(Repository.Root, "traces", "e1000e-msix.ktrace"));
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("ktrace debug", run.Errors, StringComparison.Ordinal);
        Assert.Contains("ktrace show", run.Errors, StringComparison.Ordinal);
        Assert.Empty(run.Output);
    }

    private static string ProgramPath(string name) =>
        File.ResolveLinkTarget(PeerProgram.Run("which", [name]).Trim(), returnFinalTarget: true)?.FullName ?? PeerProgram.Run("which", [name]).Trim();

    private static async Task AssertSaneAsync(TmuxSession terminal)
    {
        await terminal.UntilAsync(_ => terminal.Ask("alternate_on") == "0", "the shell's screen");
        terminal.Run("clear; stty -g | cmp - before && echo terminal as before");
        await terminal.UntilAsync(text => text.Split('\n').Contains("terminal as before"), "that the terminal is as before");
        Assert.Equal("1", terminal.Ask("cursor_flag"));
        Assert.Equal("0", terminal.Ask("mouse_any_flag"));
    }

    private TmuxSession Terminal(TerminalSize size)
    {
        var terminal = new TmuxSession(size, new Dictionary<string, string>
        {
            ["XDG_CACHE_HOME"] = Path.Combine(_program.Folder, "cache"), ["XDG_STATE_HOME"] = Path.Combine(_program.Folder, "state"), ["NO_COLOR"] = "",
        });
        terminal.Run($"cd {_program.Folder}");
        return terminal;
    }
}
