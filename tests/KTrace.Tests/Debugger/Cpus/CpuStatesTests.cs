using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Debugger.Cpus;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.Cpus;

/// <summary>Who runs, on every CPU of a real guest, against its own /proc, QEMU's monitor, and functions whose context is known.</summary>
[Collection(nameof(BootsCollection))]
public sealed partial class CpuStatesTests
{
    // Two CPUs are kept busy in user space, one sleeps; the shell waits on whichever is left.
    private const string BusyScript = """
        taskset 2 sh -c 'while :; do :; done' &
        echo "pid-of-one $!"
        taskset 4 sh -c 'while :; do :; done' &
        echo "pid-of-two $!"
        echo N > /sys/module/printk/parameters/ignore_loglevel
        echo 1 > /proc/sys/kernel/printk
        sleep 1
        for p in /proc/[0-9]*; do echo "task $(cut -d' ' -f1 $p/stat) $(grep -h Tgid $p/status | cut -f2) ($(cat $p/comm)) flags $(sed 's/.*) //' $p/stat | cut -d' ' -f7)"; done
        echo all-is-said
        sleep 60
        """;

    private static OracleKernel Stock => OracleKernel.Package(StockKernel.Root, StockKernel.Release);

    [Fact]
    public Task Every_cpus_task_is_the_one_that_proc_knows() => EveryCpusTaskIsTheOneThatProcKnowsAsync("stock");

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("other")]
    [InlineData("tree:fp64")]
    [InlineData("tree:fp32")]
    public Task Every_cpus_task_is_the_one_that_proc_knows_on_other_kernels(string kernel) => EveryCpusTaskIsTheOneThatProcKnowsAsync(kernel);

    private static async Task EveryCpusTaskIsTheOneThatProcKnowsAsync(string kernel)
    {
        await using var guest = await OracleGuest.BootAsync(OracleKernels.Open(kernel), BusyScript, cpus: 4);
        var before = await CpuStates.ReadAsync(guest.Target.Machine, guest.Map);
        await guest.RunUntilSaidAsync("all-is-said", TimeSpan.FromMinutes(8));
        var cpus = await CpuStates.ReadAsync(guest.Target.Machine, guest.Map);

        // Before start_kernel: one CPU in the kernel (on i386 perhaps before it has switched paging on), with init_task or nothing yet; the others were never started.
        Assert.True(before[0].Mode == CpuMode.Kernel || guest.Map.Image.Architecture.WordSize == 4);
        Assert.True(before[0].Task is null or { Pid: 0 });
        Assert.All(before.Skip(1), cpu => Assert.Equal((CpuMode.Firmware, null, true), (cpu.Mode, cpu.Task, cpu.IsHalted)));

        var text = guest.Console;
        var tasks = TaskLine().Matches(text).ToDictionary(m => Number(m, 1), m => (Group: Number(m, 2), Comm: m.Groups[3].Value, Flags: uint.Parse(m.Groups[4].ValueSpan, CultureInfo.InvariantCulture)));
        Assert.True(tasks.Count > 20, text);
        var monitor = await guest.Client.MonitorAsync("info registers -a");
        var shown = monitor.Output.Split("CPU#").Skip(1).ToDictionary(t => int.Parse(t.AsSpan(0, 1), CultureInfo.InvariantCulture));
        foreach (var cpu in cpus)
        {
            Assert.NotNull(cpu.Task);
            if (cpu.Task.Pid == 0)
            {
                Assert.Equal($"swapper/{cpu.Index}", cpu.Task.Comm);
                Assert.True(cpu.Task is { IsIdle: true, IsKernelThread: true });
            }
            else if (cpu.Task.Pid > tasks.Keys.Max())
            {
                // Who was not there yet when the list was made: the shell's last children, perhaps not quite gone, and the kernel's new workers.
                Assert.True(
                    cpu.Task.IsKernelThread == true ? cpu.Task.Comm?.StartsWith("kworker/", StringComparison.Ordinal) == true : ((string[])["sleep", "sh", "init", "cut", "sed", "cat", "grep"]).Contains(cpu.Task.Comm),
                    cpu.ToString());
            }
            else
            {
                Assert.Equal((tasks[cpu.Task.Pid].Group, tasks[cpu.Task.Pid].Comm), (cpu.Task.ThreadGroup, cpu.Task.Comm));
                Assert.Equal((tasks[cpu.Task.Pid].Flags & 0x200000) != 0, cpu.Task.IsKernelThread);
            }

            // In the kernel a task that is about to sleep, or that ends, says so before it leaves the CPU (set_current_state, do_exit).
            Assert.Contains(cpu.Task.State!.Value.Letter, cpu.Mode == CpuMode.Kernel ? "RSDIXZ" : "R");
            Assert.Contains(cpu.IsHalted == true ? "HLT=1" : "HLT=0", shown[cpu.Index]);
            Assert.Contains(cpu.Registers.Architecture.WordSize == 8 ? $"RIP={cpu.LinearPc:x16}" : $"EIP={cpu.LinearPc:x8}", shown[cpu.Index]);
            Assert.NotNull(cpu.Context);
            Assert.True(cpu.Mode != CpuMode.User || cpu.Stack.Kind == CpuStackKind.User);
            Assert.True(cpu.Mode != CpuMode.Kernel || (!cpu.Location.IsEmpty && IsKernelStack(cpu)), cpu.ToString());
        }

        Assert.Equal(Number(Regex.Match(text, @"pid-of-one (\d+)"), 1), cpus[1].Task!.Pid);
        Assert.Equal(Number(Regex.Match(text, @"pid-of-two (\d+)"), 1), cpus[2].Task!.Pid);

        // The shell sleeps, and one CPU has nothing to do: soon, where the host is busy.
        for (var i = 0; i < 100 && !cpus.Any(c => c.Task is { IsIdle: true }); i++)
        {
            await guest.Client.ContinueAsync();
            await Task.Delay(50);
            await guest.Client.InterruptAsync();
            await guest.Client.WaitForStopAsync();
            cpus = await CpuStates.ReadAsync(guest.Target.Machine, guest.Map);
        }

        Assert.Contains(cpus, c => c.Task is { IsIdle: true });
    }

    /// <summary>A system call's first instructions still have the program's stack, and the next ones that of the entry.</summary>
    private static bool IsKernelStack(CpuState cpu) => cpu.Stack.Kind is CpuStackKind.Task or CpuStackKind.HardIrq or CpuStackKind.SoftIrq or CpuStackKind.Exception or CpuStackKind.Entry
        || (cpu.Stack.Kind == CpuStackKind.User && cpu.Location[0].Function.StartsWith("entry_", StringComparison.Ordinal));

    private static int Number(Match match, int group) => int.Parse(match.Groups[group].ValueSpan, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^task (\d+) (\d+) \((.*)\) flags (\d+)\r?$", RegexOptions.Multiline)]
    private static partial Regex TaskLine();
}
