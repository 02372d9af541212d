using System.Diagnostics;
using KTrace.Boot.Kernels;
using KTrace.Boot.Scenarios;
using KTrace.Cli.Sessions;
using KTrace.Debugger.Stepping;
using KTrace.Tests.Cli;
using KTrace.Tests.Debugger;
using KTrace.Tests.Debugger.Attach;
using KTrace.Tests.Support;
using KTrace.Tracing;
using KTrace.Tui.Targets;
using Trace = KTrace.Tracing.Trace;

namespace KTrace.Tests.Tui.Targets;

/// <summary>The machine behind the screen, with the stock kernel in a real QEMU.</summary>
[Collection(nameof(BootsCollection))]
public sealed class LiveTargetTests : IDisposable
{
    private readonly ScratchFolder _folder = new();
    private readonly string _marker = "ktrace-tui-" + Guid.NewGuid().ToString("n");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_session_breaks_steps_finishes_compares_hits_and_saves_them()
    {
        await using (var target = Boot("e1000e-msix", ["break x86_vector_msi_compose_msg", "break no_such_place_anywhere", "break schedule", "break e1000_open"], "break schedule", "break e1000_open"))
        {
            var first = await target.NextAsync<TargetNews.Stopped>();
            Assert.Equal("connected", first.Stop.Cause);
            await target.NextAsync<TargetNews.Idle>();
            Assert.Contains(target.All<TargetNews.Note>(), n => n.IsWarning && n.Text.StartsWith("break no_such_place_anywhere:", StringComparison.Ordinal));

            // What was switched off is set and does not stop, waiting for its module or not.
            Assert.Equal([true, false, false], target.All<TargetNews.Breakpoints>()[^1].Rows.Select(r => r.IsEnabled));
            var stop = (await target.AskAsync<TargetNews.Stopped>(new TargetRequest.Continue())).Stop;
            Assert.Equal(("breakpoint 1, x86_vector_msi_compose_msg", 0, 1L), (stop.Cause, stop.Cpu, stop.Hit));
            Assert.Equal("x86_vector_msi_compose_msg", stop.Path!.Path.Frames[0].Function);
            Assert.Contains(stop.Registers, r => r is { Name: "eflags", Meaning: { } flags } && flags.Split(' ').Contains("PF") == ((r.Value & 4) != 0));
            Assert.Contains(stop.Registers, r => r.Name == "rip" && r.Value == stop.ProgramCounter && r.Meaning == "x86_vector_msi_compose_msg");

            var frame = (await target.NextAsync<TargetNews.FrameContents>()).Frame;
            Assert.Equal(("x86_vector_msi_compose_msg", "arch/x86/kernel/apic/vector.c"), (frame.Function, frame.File));
            Assert.Contains("--source DIR", frame.WhyNoSource, StringComparison.Ordinal);
            var data = Assert.Single(frame.Variables, v => v.Name == "data");
            Assert.True(data is { IsArgument: true, CanExpand: true, Provenance: "register" });
            var current = Assert.Single(frame.Code!.Rows, r => r.IsCurrent);
            Assert.Equal((stop.ProgramCounter, 1), (current.Address, current.Breakpoint));
            Assert.Contains(frame.Code.Rows, r => r.Text.Contains("<", StringComparison.Ordinal) && r.Text.StartsWith("je 0x", StringComparison.Ordinal));

            // What an expression leads to can be looked into further, by an expression again.
            var members = await target.AskAsync<TargetNews.Expanded>(new TargetRequest.Expand("data"));
            var irq = Assert.Single(members.Members, m => m.Name == "irq");
            Assert.Equal(("data->irq", false), (irq.Expression, irq.CanExpand));
            var common = Assert.Single(members.Members, m => m.Name == "common");
            Assert.Equal("data->common", common.Expression);
            Assert.Contains((await target.AskAsync<TargetNews.Expanded>(new TargetRequest.Expand(common.Expression))).Members, m => m.Expression == "data->common->affinity");

            var outer = (await target.AskAsync<TargetNews.FrameContents>(new TargetRequest.SelectFrame(2))).Frame;
            Assert.Equal((2, stop.Path.Path.Frames[2].Function), (outer.Frame, outer.Function));

            var watched = await target.AskAsync<TargetNews.Watched>(new TargetRequest.Watch(["jiffies_64", "nonsense +"]));
            Assert.True(watched.Values[0] is { Text: not null, Error: null } && watched.Values[1] is { Text: null, Error: not null });

var bad = await target.AskAsync<TargetNews.Output>(new TargetRequest.Command("p no_such_name"));
            Assert.Contains("no_such_name", Assert.Single(bad.Lines).ToString(), StringComparison.Ordinal);
            Assert.Contains("no command", (await target.AskAsync<TargetNews.Failed>(new TargetRequest.Command("nonsense"))).Message, StringComparison.Ordinal);
            var printed = await target.AskAsync<TargetNews.Output>(new TargetRequest.Command("p jiffies_64"));
            Assert.Contains("jiffies_64 = ", printed.Lines.Single().ToString(), StringComparison.Ordinal);

            // A run that cannot begin is over at once: the machine stands where it stood.
            Assert.Equal(stop.ProgramCounter, (await target.AskAsync<TargetNews.Stopped>(new TargetRequest.RunTo("no_such_place"))).Stop.ProgramCounter);
            Assert.Contains("no_such_place", (await target.NextAsync<TargetNews.Failed>()).Message, StringComparison.Ordinal);

            var step = (await target.AskAsync<TargetNews.Stopped>(new TargetRequest.Step(StepKind.Line))).Stop;
            Assert.Equal(("step", null), (step.Cause, step.Hit));
            Assert.Contains(step.Registers, r => r is { Name: "rip", Changed: true });
            var finish = (await target.AskAsync<TargetNews.Stopped>(new TargetRequest.Finish(0))).Stop;
            Assert.Contains("has returned", finish.Cause, StringComparison.Ordinal);

            var second = (await target.AskAsync<TargetNews.Stopped>(new TargetRequest.Continue())).Stop;
            Assert.Equal(2L, second.Hit);
            var compared = await target.AskAsync<TargetNews.HitsCompared>(new TargetRequest.CompareHits(1, 2));
            Assert.Equal((1L, 2L), (compared.First.Sequence, compared.Second.Sequence));
            var shown = await target.AskAsync<TargetNews.HitShown>(new TargetRequest.ShowHit(1));
            Assert.Equal(stop.Path.Path, shown.Hit.Path);
            Assert.Equal("x86_vector_msi_compose_msg", shown.Tracepoints.Name(shown.Hit.Tracepoint));
            Assert.Equal(2, target.All<TargetNews.HitsAdded>().Sum(h => h.Hits.Length));

            var word = await target.AskAsync<TargetNews.Completions>(new TargetRequest.Complete("break x86_vector_msi_comp", 25));
            Assert.Equal((6, "x86_vector_msi_compose_msg"), (word.Start, Assert.Single(word.Words)));
            var member = await target.AskAsync<TargetNews.Completions>(new TargetRequest.Complete("p data->common->aff", 19));
            Assert.Contains("affinity", member.Words);

            // What a frame has and what stands in memory by name: at its entry a function's stack begins with where it returns to.
            for (var at = 0; frame.Variables.All(v => v.IsArgument || v.Name.Length < 2); at++)
            {
                frame = (await target.AskAsync<TargetNews.FrameContents>(new TargetRequest.SelectFrame(at))).Frame;
            }

            var local = frame.Variables.First(v => !v.IsArgument && v.Name.Length > 1).Name;
            Assert.Contains(local, (await target.AskAsync<TargetNews.Completions>(new TargetRequest.Complete($"p {local[..1]}", 3))).Words);
            Assert.Contains(local, (await target.AskAsync<TargetNews.Completions>(new TargetRequest.Complete($"x/2gx &{local[..^1]}", 6 + local.Length))).Words);
            Assert.Contains(local, (await target.AskAsync<TargetNews.Completions>(new TargetRequest.Complete($"watch {local[..^1]}", 5 + local.Length))).Words);

            var memory = await target.AskAsync<TargetNews.MemoryRead>(new TargetRequest.ReadMemory("$rsp", 64));
            Assert.Contains(second.Path!.Path.Frames, f => memory.Names[0].StartsWith(f.Function + "+0x", StringComparison.Ordinal));
            Assert.Equal((64, true), (memory.Bytes.Length, memory.Bytes.All(b => b is not null)));
            Assert.All((await target.AskAsync<TargetNews.MemoryRead>(new TargetRequest.ReadMemory("0x1234567890123", 16))).Bytes, b => Assert.Null(b));
            Assert.Contains(target.All<TargetNews.Breakpoints>()[^1].Rows, r => r is { Number: 1, Hits: 2, IsPending: false });
            Assert.DoesNotContain((await target.AskAsync<TargetNews.Breakpoints>(new TargetRequest.ToggleBreakpoint("x86_vector_msi_compose_msg"))).Rows, r => r.Number == 1);

            var file = _folder.File("session.ktrace");
            await target.AskAsync<TargetNews.Note>(new TargetRequest.Save(file), n => n.Text.StartsWith("saved", StringComparison.Ordinal));
            var trace = Trace.Load(file);
            Assert.Equal((2, null), (trace.Hits.Count, trace.Incomplete));
            Assert.True(trace.Header.Boot.Value.TryGetProperty("scenario", out _));
            Assert.Contains("already", (await target.AskAsync<TargetNews.Failed>(new TargetRequest.Export(Existing("there.txt"), 1))).Message, StringComparison.Ordinal);
            await target.AskAsync<TargetNews.Note>(new TargetRequest.Export(_folder.File("one.txt"), 1), n => n.Text.StartsWith("1 hit written", StringComparison.Ordinal));
            Assert.Contains("#0  x86_vector_msi_compose_msg", File.ReadAllText(_folder.File("one.txt")), StringComparison.Ordinal);
        }

        Assert.Empty(KTraceProgram.Processes(_marker));
    }

    [Fact]
    public async Task A_running_guest_is_typed_to_interrupted_and_floods_nobody()
    {
        await using var target = Boot("shell");
        await target.NextAsync<TargetNews.Stopped>();
        target.Post(new TargetRequest.Continue());
        await target.NextAsync<TargetNews.Running>();
        await UntilAsync("a prompt", () => target.Console.Contains("/ #", StringComparison.Ordinal));
        target.Post(new TargetRequest.TypeToConsole("echo $((6 * 7))-typed\n"));
        await UntilAsync("the shell's answer", () => target.Console.Contains("42-typed", StringComparison.Ordinal));

        // A breakpoint is set without a stop to be seen; what needs a standing machine says so.
        Assert.Contains("the guest runs", (await target.AskAsync<TargetNews.Failed>(new TargetRequest.ReadInterrupts())).Message, StringComparison.Ordinal);
        var set = await target.AskAsync<TargetNews.Breakpoints>(new TargetRequest.ToggleBreakpoint("version_proc_show"));
        Assert.False(Assert.Single(set.Rows).IsPending);
        target.Post(new TargetRequest.TypeToConsole("cat /proc/version\n"));
        Assert.Equal("breakpoint 1, version_proc_show", (await target.NextAsync<TargetNews.Stopped>()).Stop.Cause);

        // The session's trace has the console, too.
        var saved = _folder.File("console.ktrace");
        await target.AskAsync<TargetNews.Note>(new TargetRequest.Save(saved), n => n.Text.StartsWith("saved", StringComparison.Ordinal));
        using (var reader = TraceReader.Open(saved))
        {
            var records = reader.ReadAll().ToList();
            var lines = records.FindAll(r => r is TraceRecord.Console).ConvertAll(r => ((TraceRecord.Console)r).Text);
            Assert.Contains("42-typed", lines);
            Assert.True(records.FindIndex(r => r is TraceRecord.Console { Text: "42-typed" }) < records.FindIndex(r => r is TraceRecord.Hit));
        }

        // Output without end, and a screen that does not read for a while: the news that waits for it stays few, and an interrupt comes through.
        target.Post(new TargetRequest.DeleteBreakpoint(1));
        target.Post(new TargetRequest.Continue());
        target.Post(new TargetRequest.TypeToConsole("yes 0123456789012345678901234567890123456789012345678901234567890123456789\n"));
        await UntilAsync("the flood", () => target.Console.Contains("6789\n0123", StringComparison.Ordinal));
        target.IsReading = false;
        await Task.Delay(2000);
        Assert.InRange(target.Waiting, 0, 100);
        target.IsReading = true;
        Assert.Equal("interrupted", (await target.AskAsync<TargetNews.Stopped>(new TargetRequest.Interrupt())).Stop.Cause);

        // QEMU is killed while nobody waits for it.
        foreach (var process in KTraceProgram.Processes(_marker))
        {
            Process.GetProcessById(process).Kill();
        }

        Assert.Contains("QEMU", (await target.NextAsync<TargetNews.Ended>()).Reason, StringComparison.Ordinal);
        Assert.Contains("no machine any more", (await target.AskAsync<TargetNews.Failed>(new TargetRequest.Continue())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_boot_that_is_given_up_leaves_nothing_and_one_that_cannot_be_says_why()
    {
        await using (var target = Boot("e1000e-msix"))
        {
            target.Post(new TargetRequest.Interrupt());
            await target.NextAsync<TargetNews.Ended>();
        }

        Assert.Empty(KTraceProgram.Processes(_marker));
        var scenario = Scenarios.Read("e1000e-msix") with { Kernel = new KernelChoice { Image = "/nowhere/bzImage" } };
        await using var none = new TargetWatch(new LiveTarget(new BootedGuest(scenario, Store(), [], false, null), new LiveTargetOptions(null, [])));
        Assert.Contains("/nowhere/bzImage", (await none.NextAsync<TargetNews.Ended>()).Reason, StringComparison.Ordinal);
        Assert.Contains("/nowhere/bzImage", (await none.NextAsync<TargetNews.Failed>()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_attached_guest_runs_on_afterwards_and_a_lost_connection_is_told_while_it_runs()
    {
        await using var guest = await ForeignGuest.StartAsync(OracleKernel.Package(StockKernel.Root, StockKernel.Release), "");
        await guest.WaitUntilReadyAsync();
        await using (var target = Attach(guest))
        {
            await target.NextAsync<TargetNews.Stopped>();
            await target.NextAsync<TargetNews.Idle>();
            Assert.Contains("not connected", (await target.AskAsync<TargetNews.Failed>(new TargetRequest.TypeToConsole("x"))).Message, StringComparison.Ordinal);
            await target.AskAsync<TargetNews.Breakpoints>(new TargetRequest.ToggleBreakpoint("version_proc_show"));
            target.Post(new TargetRequest.Continue());
            var asked = guest.AskAsync("cat /proc/version");
            Assert.Equal("breakpoint 1, version_proc_show", (await target.NextAsync<TargetNews.Stopped>()).Stop.Cause);
            Assert.False(asked.IsCompleted);
        }

        Assert.Contains("Linux version", await guest.AskAsync("cat /proc/version"), StringComparison.Ordinal);
        await using var again = Attach(guest);
        await again.NextAsync<TargetNews.Stopped>();
        await again.NextAsync<TargetNews.Idle>();
        await again.AskAsync<TargetNews.Running>(new TargetRequest.Continue());
        await guest.DisposeAsync();
        Assert.NotEmpty((await again.NextAsync<TargetNews.Ended>()).Reason);
        Assert.Contains("no machine any more", (await again.AskAsync<TargetNews.Failed>(new TargetRequest.Continue())).Message, StringComparison.Ordinal);
    }

    private static TargetWatch Attach(ForeignGuest guest) => new(new LiveTarget(
        new JoinedGuest(guest.Endpoint, new AttachFiles(StockKernel.Vmlinux, [], []), [], null), new LiveTargetOptions(null, [])));

    private static async Task UntilAsync(string what, Func<bool> condition)
    {
        var since = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(since.Elapsed < TimeSpan.FromMinutes(3), "never came: " + what);
            await Task.Delay(20);
        }
    }

    private string Existing(string name)
    {
        File.WriteAllText(_folder.File(name), "");
        return _folder.File(name);
    }

    private KernelStore Store()
    {
        var kernels = Directory.CreateDirectory(_folder.File("cache/kernels")).FullName;
        if (!Directory.Exists(Path.Combine(kernels, StockKernel.Release)))
        {
            Directory.CreateSymbolicLink(Path.Combine(kernels, StockKernel.Release), StockKernel.Root);
            File.WriteAllText(Path.Combine(kernels, "stock"), StockKernel.Release + "\n");
        }

        return new KernelStore(_folder.File("cache"));
    }

    private TargetWatch Boot(string name) => Boot(name, []);

    private TargetWatch Boot(string name, string[] breakpoints, params string[] disabled)
    {
        var scenario = Scenarios.Read(name);
        scenario = scenario with { QemuArgs = [.. scenario.QemuArgs, "-name", _marker] };
        return new TargetWatch(new LiveTarget(new BootedGuest(scenario, Store(), [], false, null), new LiveTargetOptions(null, [.. breakpoints]) { Disabled = [.. disabled] }));
    }
}
