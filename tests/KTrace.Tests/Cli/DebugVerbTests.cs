using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Tests.Support;
using Trace = KTrace.Tracing.Trace;

namespace KTrace.Tests.Cli;

/// <summary>ktrace debug and ktrace attach as a person or a script uses them.</summary>
[Collection(nameof(BootsCollection))]
public sealed class DebugVerbTests : IDisposable
{
    private readonly KTraceProgram _program = new();

    public void Dispose() => _program.Dispose();

    [Fact]
    public void A_script_boots_breaks_steps_looks_and_goes_on()
    {
        var run = _program.RunWith(
            """
            # the MSI path of the first interrupt
            tb x86_vector_msi_compose_msg
            c
            bt 3
            info args
            p data->irq
            p/x msg->address_lo
            up
            info locals
            display/i $pc
            display current->pid
            finish
            info display
            undisplay
            x/2i $pc
            x/i
            x/2s linux_banner
            info registers rip
            set var jiffies_64 = 5
            p jiffies_64
            b
            info breakpoints
            nonsense
            frame 99
            """,
            "debug", "e1000e-msix", "--no-console", "--ex", "tb start_kernel", "--ex", "c");

        var text = run.Output;
        Assert.Contains("temporary breakpoint 1  cpu 0  swapper", text, StringComparison.Ordinal);
        Assert.Contains("#0  x86_vector_msi_compose_msg  arch/x86/kernel/apic/vector.c:", text, StringComparison.Ordinal);
        Assert.Contains("data->irq = 0", text, StringComparison.Ordinal);
        Assert.Contains("msg->address_lo = 0x", text, StringComparison.Ordinal);
        Assert.Contains("irq_chip_compose_msi_msg has returned", text, StringComparison.Ordinal);
        Assert.Contains("jiffies_64 = 5", text, StringComparison.Ordinal);

        // What is displayed is shown at once and at the next stop, until it is taken back.
        Assert.Equal(3, Regex.Count(text, @"^1: +/i \$pc$", RegexOptions.Multiline));
        Assert.Equal(2, Regex.Count(text, "^2: current->pid = ", RegexOptions.Multiline));

        // Memory goes on where it was left: behind the last instruction, behind the first string.
        var code = Regex.Matches(text[text.IndexOf("(ktrace) x/2i", StringComparison.Ordinal)..], @"^(?:=>|  ) (\w+) .*$", RegexOptions.Multiline).Select(m => m.Groups[1].Value).Take(3).ToList();
        Assert.Equal(code.Order(StringComparer.Ordinal), code);
        Assert.Equal(3, code.Distinct().Count());
        Assert.Matches(@"(?m)^0x\w+:  ""Linux version 6\..*""\n0x\w+:  ", text);

        // What failed is told, with what to do, and makes the exit code 2; the rest was done.
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("there is no command 'nonsense'", run.Errors, StringComparison.Ordinal);
        Assert.Contains("there is no frame 99", run.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", run.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void A_session_that_runs_to_the_guests_end_says_so_and_leaves_nothing_behind()
    {
        var marker = "ktrace-debug-" + Guid.NewGuid().ToString("N");
        var run = _program.Run("debug", "e1000e-msix", "--transcript", "wire.txt", "--ex", "b e1000e:e1000_request_irq", "--ex", "c", "--ex", "s", "--ex", "s", "--ex", "s", "--ex", "s",
            "--ex", "whatis adapter", "--ex", "ptype adapter->msix_entries[0].vector", "--ex", "tb 2124", "--ex", "c", "--ex", "until 2140", "--ex", "delete", "--ex", "c", "--batch", "--", "-name", marker);

        Assert.Equal((0, ""), (run.ExitCode, string.Concat(run.Errors.Split('\n').Where(l => l.StartsWith("ktrace:", StringComparison.Ordinal)))));
        Assert.Contains("the guest powered off", run.Output, StringComparison.Ordinal);

        // The last step entered an inlined function where the one before it had stopped.
        Assert.Contains("#0  e1000_request_msix [e1000e] (inline)", run.Output, StringComparison.Ordinal);
        Assert.Contains("struct e1000_adapter *;", run.Output, StringComparison.Ordinal);
        Assert.Matches("ptype adapter->msix_entries\\[0\\].vector\nu32;|typedef .* u32;", run.Output);

        // A number is a line of this file.
        Assert.Matches("temporary breakpoint 2 .*\n#0  e1000_request_msix .*netdev.c:2124", run.Output);
        Assert.Matches("reached .*\n#0  e1000_request_msix .*netdev.c:2140", run.Output);
        Assert.Contains("| ", run.Output, StringComparison.Ordinal);
        Assert.Empty(KTraceProgram.Processes(marker));
        Assert.Contains("> qSupported", File.ReadAllText(_program.PathOf("wire.txt")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Attaching_finds_the_kernel_and_its_modules_and_leaves_the_guest_running()
    {
        // KASLR is on, two CPUs, and e1000e was loaded long before.
        var build = _program.Run("initramfs", "build", "--kernel", "stock", "--module", "e1000e", "--step", "network",
            "--step", "run i=0; while :; do i=$((i+1)); echo tick $i; ping -c 1 10.0.2.2 > /dev/null; usleep 200000; done", "-o", "tick.gz");
        Assert.True(build.ExitCode == 0, build.Errors);
        var (socket, console) = (_program.PathOf("g.sock"), _program.PathOf("console.log"));
        using var qemu = Process.Start(new ProcessStartInfo("qemu-system-x86_64", [
            "-machine", "q35", "-accel", "tcg", "-m", "512M", "-smp", "2", "-kernel", StockKernel.Vmlinuz, "-initrd", _program.PathOf("tick.gz"), "-append", "console=ttyS0",
            "-nic", "user,model=e1000e", "-display", "none", "-no-reboot", "-serial", "file:" + console, "-gdb", $"unix:{socket},server=on,wait=off"])
        { RedirectStandardOutput = true, RedirectStandardError = true })!;
        try
        {
            KTraceProgram.WaitFor("the guest's first tick", () => File.Exists(console) && Ticks(console) > 0);
            var run = _program.RunWith("info modules\ntb e1000e:e1000_xmit_frame\nc\nbt 2\nb scheduler_tick\nc\n", "attach", socket);

            Assert.True(run.ExitCode == 0, run.Errors + run.Output);
            Assert.Contains("KASLR slide 0x", run.Errors, StringComparison.Ordinal);
            Assert.Contains("e1000_xmit_frame [e1000e]  drivers/net/ethernet/intel/e1000e/netdev.c", run.Output, StringComparison.Ordinal);
            Assert.Contains("breakpoint 2", run.Output, StringComparison.Ordinal);
            await AssertTicksOnAsync(console);

            // And recorded, by condition, from two CPUs.
            var record = _program.Run("attach", "unix:" + socket, "-b", "e1000e:e1000_xmit_frame print skb->len", "--max-hits", "3", "-o", "attached.ktrace");
            Assert.True(record.ExitCode == 0, record.Errors);
            var trace = Trace.Load(_program.PathOf("attached.ktrace"));
            Assert.Equal(3, trace.Hits.Count);
            Assert.All(trace.Hits, h => Assert.Equal(("e1000_xmit_frame", "e1000e"), (h.Path.Frames[0].Function, h.Path.Frames[0].Module)));
            await AssertTicksOnAsync(console);

            // A vmlinux of another kernel is told apart, and the guest does not notice.
            var wrong = _program.Run("attach", socket, "--vmlinux", StockKernel.Module("e1000e"), "--ex", "bt", "--batch");
            Assert.Equal(2, wrong.ExitCode);
            await AssertTicksOnAsync(console);
        }
        finally
        {
            qemu.Kill(entireProcessTree: true);
        }

        var gone = _program.Run("attach", socket, "--ex", "bt", "--batch");
        Assert.Equal(2, gone.ExitCode);
        Assert.Contains("cannot connect", gone.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public void The_example_of_the_documentation_runs_and_stands_in_it_as_it_is()
    {
        var root = KTrace.Tests.Boot.Repository.Root;
        var text = File.ReadAllText(Path.Combine(root, "docs/example/Program.cs"));
        Assert.Contains("```csharp\n" + text + "```", File.ReadAllText(Path.Combine(root, "docs/engine.md")), StringComparison.Ordinal);
        Assert.True(text.TrimEnd().Split('\n').Length <= 30);

        using var process = _program.StartExample(Path.Combine(root, "scenarios/e1000e-msix.yaml"));
        var run = KTraceProgram.Finish(process);
        Assert.True(run.ExitCode == 0, run.Errors);
        Assert.Contains("irq 24 for \"eth0-rx-0\"", run.Output, StringComparison.Ordinal);
        Assert.Contains("e1000_request_msix  drivers/net/ethernet/intel/e1000e/netdev.c:", run.Output, StringComparison.Ordinal);
        Assert.Contains("powered off", run.Output, StringComparison.Ordinal);
    }

    private static int Ticks(string console) => File.ReadAllText(console).Split('\n').Count(l => l.StartsWith("tick ", StringComparison.Ordinal));

    private static async Task AssertTicksOnAsync(string console)
    {
        var before = Ticks(console);
        for (var i = 0; i < 600 && Ticks(console) < before + 3; i++)
        {
            await Task.Delay(100);
        }

        Assert.True(Ticks(console) >= before + 3, string.Create(CultureInfo.InvariantCulture, $"the guest stands at tick {before}"));
    }
}
