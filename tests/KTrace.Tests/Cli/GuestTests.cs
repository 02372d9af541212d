using KTrace.Tracing;

namespace KTrace.Tests.Cli;

/// <summary>Guests that misbehave, or do more than the demo's.</summary>
[Collection(nameof(BootsCollection))]
public sealed class GuestTests : IDisposable
{
    private const string Start = """
        #!/bin/sh
        export PATH=/bin:/sbin:/usr/bin:/usr/sbin
        mount -t proc proc /proc
        mount -t sysfs sysfs /sys
        mount -t devtmpfs devtmpfs /dev

        """;

    private readonly KTraceProgram _program = new();

    public void Dispose() => _program.Dispose();

    [Fact]
    public void What_a_guest_writes_never_reaches_the_terminal_as_it_is()
    {
        Scenario("printf '\\033]0;owned\\007\\033[2J\\033[31mred\\302\\2332J\\n'\nsh -c 'printf \"x\\033[5mblink\" > /proc/self/comm; exit 3'\npoweroff -f\nsleep 9", "do_exit");
        using var recording = _program.StartOnTerminal(80, $"{KTraceProgram.InShell} record guest.yaml -o run.ktrace");
        var record = KTraceProgram.Finish(recording);
        Assert.True(record.ExitCode == 0, record.Output);
        Assert.Contains(Trace.Load(_program.PathOf("run.ktrace")).Hits, h => h.Task!.Comm == "x\u001b[5mblink");

        var shown = record.Output;
        foreach (var words in (string[])["show run.ktrace", "show run.ktrace#last", "show run.ktrace --format json", "show run.ktrace --format gdb", "show run.ktrace --stats", "diff run.ktrace run.ktrace", "show run.ktrace --filter 'task=x*'"])
        {
            using var process = _program.StartOnTerminal(120, $"{KTraceProgram.InShell} {words}");
            shown += KTraceProgram.Finish(process).Output;
            shown += _program.Run(words.Replace("'", "", StringComparison.Ordinal).Split(' ')) is var piped && words.Contains("json", StringComparison.Ordinal) ? "" : piped.Output;
        }

        Assert.Contains("\\x1b[5mblink", shown);
        foreach (var hostile in (string[])["\u001b]0;", "\u001b[2J", "\u001b[31mred", "\u001b[5m", "\u009b"])
        {
            Assert.DoesNotContain(hostile, shown);
        }
    }

    [Fact]
    public void A_module_that_is_unloaded_and_loaded_again_is_followed()
    {
        Scenario(
            "insmod /lib/modules/e1000e.ko || insmod $(find /lib/modules -name 'e1000e.ko*')\nifconfig eth0 up\nifconfig eth0 down\nrmmod e1000e\n"
            + "insmod $(find /lib/modules -name 'e1000e.ko*')\nifconfig eth0 up\nusleep 100000\npoweroff -f\nsleep 9",
            "e1000e_open", "e1000e:e1000_init_module", "do_init_module");
        var run = _program.Run("record", "guest.yaml", "-o", "run.ktrace");

        Assert.True(run.ExitCode == 0, run.Errors);
        var trace = Trace.Load(_program.PathOf("run.ktrace"));
        Assert.Equal(2, trace.Modules.Count(m => m.Name == "e1000e"));
        Assert.Equal(
            ["do_init_module", "e1000_init_module", "e1000e_open", "do_init_module", "e1000_init_module", "e1000e_open"],
            trace.Hits.Where(h => h.Task!.Comm is "insmod" or "ifconfig").Select(h => h.Path.Frames[0].Function));
        var opens = trace.Hits.Where(h => h.Path.Frames[0].Function == "e1000e_open").ToList();
        Assert.Equal(opens[0].Path.Frames.Select(f => f.Function), opens[1].Path.Frames.Select(f => f.Function));
        Assert.Equal("e1000e", opens[1].Path.Frames[0].Module);
    }

    [Fact]
    public void A_guest_that_panics_and_one_that_reboots_end_the_recording_with_that_reason()
    {
        Scenario("echo b > /proc/sysrq-trigger\nsleep 9", "emergency_restart");
        var reboot = _program.Run("record", "guest.yaml", "-o", "reboot.ktrace");
        Assert.True(reboot.ExitCode == 0, reboot.Errors);
        var trace = Trace.Load(_program.PathOf("reboot.ktrace"));
        Assert.Equal("guest rebooted (a reset or a triple fault)", trace.End!.Reason);
        Assert.Single(trace.Hits);

        Scenario("exit 7", "panic");
        var panic = _program.Run("record", "guest.yaml", "--append", "console=ttyS0 nokaslr panic=-1", "-o", "panic.ktrace");
        Assert.True(panic.ExitCode == 0, panic.Errors);
        trace = Trace.Load(_program.PathOf("panic.ktrace"));
        Assert.Contains("do_group_exit", Assert.Single(trace.Hits).Path.Frames.Select(f => f.Function));
        Assert.Contains("reboot", trace.End!.Reason);
    }

    private void Scenario(string script, params string[] tracepoints) => _program.Write("guest.yaml", $"""
        name: guest
        kernel: stock
        append: console=ttyS0 nokaslr
        initramfs:
          modules: [e1000e]
          script: |
        {string.Join("\n", (Start + script).Split('\n').Select(l => "    " + l))}
        nics: [e1000e]
        tracepoints: [{string.Join(", ", tracepoints.Select(t => $"\"{t}\""))}]
        timeout: 60s
        """);
}
