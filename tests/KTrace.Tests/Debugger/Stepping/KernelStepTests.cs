using KTrace.Boot.Images;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Boot;
using KTrace.Debugger.Cpus;
using KTrace.Debugger.Sessions;
using KTrace.Debugger.Stepping;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Types;
using KTrace.Tests.Boot;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.Stepping;

/// <summary>Steps through the stock kernel, and gdb's through another boot of it.</summary>
[Collection(nameof(BootsCollection))]
public sealed class KernelStepTests
{
    private const string Script = "while :; do cat /init > /dev/null; sleep 0.05; done";

    private static OracleKernel Stock => OracleKernel.Package(StockKernel.Root, StockKernel.Release);

    [SkippableTheory]
    [InlineData("s100")]
    [InlineData("n3 advance=*e820__memblock_setup advance=*memblock_add advance=*setup_log_buf advance=*memblock_add finish^1 until=*setup_log_buf advance=*setup_log_buf n2 s3 finish n3 until")]
    public async Task From_start_kernel_steps_go_where_gdb_goes(string steps)
    {
        // Before the first interrupt every boot is the same. The tracer's call at a function's entry, which gdb enters, is no line of the source; as that shifts what
        // comes behind, `step` is the last command.
        var expected = (await GdbAsync("start_kernel", steps)).Where(l => !l.Contains(" __fentry__:", StringComparison.Ordinal)).ToList();
        Assert.True(expected.Count > 25, string.Join('\n', expected));

        await using var guest = await OracleGuest.BootAsync(Stock, Script);
        using var ours = await StepsFromAsync(guest, "start_kernel");
        var said = await ours.Steps.RunAsync(steps).WaitAsync(TimeSpan.FromMinutes(4));
        Assert.Equal(string.Join('\n', Agreed(expected)), string.Join('\n', Agreed(said).Take(Agreed(expected).Count)));
    }

    [Fact]
    public async Task Finish_tells_what_the_function_returned_and_next_comes_back_to_its_own_task()
    {
        await using var guest = await OracleGuest.BootAsync(Stock, Script);
        using var ours = await StepsFromAsync(guest, "vfs_read");
        var frame = (await guest.Target.Machine.RegistersAsync()).StackPointer;
        var result = await ours.Stepper.FinishAsync(ours.Steps.Position, 0, new KernelTypes(guest.Map));
        var returned = Assert.IsType<StopCause.FunctionReturned>(Assert.IsType<SessionStop.Stopped>(result.Stop).Cause);
        var registers = await guest.Target.Machine.RegistersAsync();
        Assert.Equal("vfs_read", returned.Function);
        Assert.Equal("ssize_t", returned.Value!.Type.ToString());
        Assert.Equal(registers[X86_64.Rax], BitConverter.ToUInt64(returned.Value.Bytes.Span));
        Assert.Equal(frame + 8, registers.StackPointer);
        Assert.Equal("ksys_read", guest.Map.Symbolize(result.Position!.ProgramCounter)[^1].Function);

        using var sleeper = await StepsFromAsync(guest, "do_nanosleep");
        var task = await TaskAsync(guest);
        var passed = sleeper.Run.Runs;
        var places = new List<string>();
        for (var i = 0; i < 12 && sleeper.Steps.Place.StartsWith("do_nanosleep", StringComparison.Ordinal); i++)
        {
            places.AddRange(await sleeper.Steps.RunAsync("n"));
            Assert.Equal(task, await TaskAsync(guest));
        }

        // schedule() was among what was passed: another task ran meanwhile.
        Assert.True(sleeper.Run.Runs > passed, string.Join('\n', places));

        // Where a processor waits for an interrupt, steps with interrupts masked would wait for ever; they end behind the instruction, and then in the caller.
        using var idle = await StepsFromAsync(guest, "native_safe_halt");
        var waits = await idle.Steps.RunAsync("si12");
        Assert.Contains(waits.Skip(1), p => p.Contains(" native_safe_halt:", StringComparison.Ordinal));
        Assert.Contains(waits, p => p.Contains(" default_idle:", StringComparison.Ordinal) || p.Contains(" default_idle_call:", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Where_interrupts_cannot_be_masked_no_step_ends_in_one()
    {
        await using var guest = await OracleGuest.BootAsync(Stock, Script);
        await guest.Client.SetStepMaskAsync(StepMask.Enable);
        using var ours = await StepsFromAsync(guest, "do_sys_openat2");
        var places = await ours.Steps.RunAsync("s60 si40 ni20");
        Assert.Equal(121, places.Count);
        Assert.All(places, p => Assert.DoesNotMatch("sysvec|interrupt|irq_entries", p));

        // The timer is always due when instructions take this long: interrupts did come, and ran.
        Assert.True(ours.Run.Runs > 5, $"{ours.Run.Runs} runs");
    }

    [Fact]
    public async Task On_two_CPUs_only_the_stepped_one_moves()
    {
        await using var guest = await OracleGuest.BootAsync(Stock, Script, cpus: 2);
        using var ours = await StepsFromAsync(guest, "vfs_read");
        var machine = guest.Target.Machine;
        var (cpu, other) = (ours.Steps.Position.Cpu, 1 - ours.Steps.Position.Cpu);
        var before = (await machine.RegistersAsync(other)).ProgramCounter;
        await ours.Steps.RunAsync("si30");
        Assert.Equal(before, (await machine.RegistersAsync(other)).ProgramCounter);
        Assert.Equal(cpu, ours.Steps.Position.Cpu);

        // Both CPUs run what is called: the temporary breakpoint waits for this activation.
        var task = await TaskAsync(guest);
        await ours.Steps.RunAsync("n8");
        Assert.Equal(task, await TaskAsync(guest));
    }

    /// <summary>A function name may be a label's in one and its function's in the other (entry_SYSCALL_64_after_hwframe): command, line and address count. Values are not compared here.</summary>
    private static List<string> Agreed(IEnumerable<string> said) =>
        [.. said.Where(l => !l.StartsWith("value", StringComparison.Ordinal)).Select(l => l.Split(' ')[0] + l[l.IndexOf(':', StringComparison.Ordinal)..])];

    private static async Task<ulong> TaskAsync(OracleGuest guest)
    {
        var registers = await guest.Target.Machine.RegistersAsync();
        return (await guest.Target.Memory.TryReadWordAsync(TaskLocator.Find(guest.Map)!.PointerAddress(registers)!.Value, CancellationToken.None))!.Value;
    }

    private static async Task<Ours> StepsFromAsync(OracleGuest guest, string function)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        Assert.True(guest.Map.Image.TryFindSymbol(function, out var symbol));
        var run = new MachineRun(guest.Target.Machine);
        await guest.Target.Machine.ThreadsAsync(patience.Token);
        Assert.IsType<StepStop.Reached>(await run.RunToAsync([guest.Map.ToRunTime(symbol.Value)], (_, _) => true, patience.Token));
        var stepper = new Stepper(run, guest.Map);
        return new Ours(stepper, run, new OurSteps(stepper, guest.Map, await stepper.PositionAsync(guest.Target.Machine.StoppedCpu, null, patience.Token)));
    }

    private static async Task<IReadOnlyList<string>> GdbAsync(string function, string steps)
    {
        using var cache = new TemporaryFolder();
        var scenario = new Scenario
        {
            Name = "gdb",
            Kernel = new KernelChoice { Image = Stock.Image, Vmlinux = Stock.Vmlinux, Modules = Stock.Modules, DebugModules = Stock.DebugModules },
            Initramfs = new InitramfsChoice { Build = new InitramfsDescription { Script = "#!/bin/sh\n" + Script } },
            Append = "console=ttyS0 nokaslr panic=-1",
            Nics = [],
        };
        var boot = await PreparedBoot.PrepareAsync(scenario, new KernelStore(cache.Path));
        await using var qemu = await QemuProcess.StartAsync(boot.CommandLine);
        return await Task.Run(() => GdbSteps.Run(Stock.Vmlinux, $"target remote {qemu.GdbSocket};hbreak *&{function};continue;delete", steps));
    }

    private sealed record Ours(Stepper Stepper, MachineRun Run, OurSteps Steps) : IDisposable
    {
        public void Dispose() => Steps.Dispose();
    }
}
