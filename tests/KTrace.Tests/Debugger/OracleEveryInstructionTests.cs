using System.Collections.Immutable;
using KTrace.Debugger.Recording;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Cli;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger;

/// <summary>Guests that are stopped where nobody would: at every instruction of the entry code, and at random moments of a boot.</summary>
[Collection(nameof(BootsCollection))]
public sealed class OracleEveryInstructionTests(ITestOutputHelper output)
{
    private const string Busy = """
        echo busy now
        mount -t tmpfs none /tmp 2>/dev/null || mkdir -p /tmp
        i=0
        while [ $i -lt 400 ]; do
          i=$((i+1))
          cat /proc/interrupts > /dev/null
          ls -lR /proc/1 > /dev/null 2>&1
          dd if=/dev/zero of=/tmp/x bs=64k count=20 2> /dev/null
          usleep 1000
          (md5sum /tmp/x; exit 1) > /dev/null &
        done
        """;

    [Fact]
    public async Task Every_instruction_of_the_entry_code_has_a_stack_that_ends_well() => await StepThroughAsync(OracleKernels.Open("stock"), 200);

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("stock", "pti=on")]
    [InlineData("other", "")]
    [InlineData("other", "pti=on")]
    [InlineData("tree:fp64", "")]
    [InlineData("tree:fp32", "")]
    public async Task Every_instruction_of_the_entry_code_has_a_stack_that_ends_well_on_every_kernel(string kernel, string append) =>
        await StepThroughAsync(OracleKernels.Open(kernel), 200, append);

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("stock", 1, "", 200)]
    [InlineData("stock", 2, "EPYC", 120)]
    [InlineData("other", 1, "", 200)]
    [InlineData("other", 2, "EPYC", 120)]
    [InlineData("tree:fp64", 2, "", 200)]
    [InlineData("tree:clang64", 2, "", 200)]
    [InlineData("tree:guess64", 2, "", 200)]
    [InlineData("tree:fp32", 2, "", 200)]
    public async Task Random_stops_of_a_busy_boot_end_well(string kernel, int cpus, string cpu, int stops)
    {
        await using var guest = await OracleGuest.BootAsync(OracleKernels.Open(kernel), Busy, cpus: cpus, cpu: cpu.Length == 0 ? null : cpu);
        var bad = new List<string>();
        var ends = new SortedDictionary<string, int>(StringComparer.Ordinal);
        var (frames, chains, links) = (0, 0, 0);
        var random = new Random(17);
        async Task StopAsync(int count) => await guest.InterruptAsync(
            count,
            () => TimeSpan.FromMilliseconds(random.Next(1, 60)),
            async capture =>
            {
                frames += capture.Stack.Frames.Length;
                Count(ends, capture);
                if (!EndsWell(capture.Stack, guest))
                {
                    bad.Add(Describe(capture, guest));
                }

                if (kernel == "tree:fp64" && await ChainAsync(capture, guest) is { Count: > 0 } chain)
                {
                    chains++;
                    links += chain.Count;
                    if (!IsWithin(chain, capture.Stack.Frames))
                    {
                        bad.Add($"rbp's chain is {string.Join(" ", chain.Select(pc => $"0x{pc:x}"))}\n" + Describe(capture, guest));
                    }
                }
            });
        // Half of them while the kernel comes up, half while programs run.
        await StopAsync(stops / 2);
        await guest.RunUntilSaidAsync("busy now", TimeSpan.FromMinutes(1));
        await StopAsync(stops / 2);
        output.WriteLine($"{kernel}, {cpus} CPUs: {stops} stops, {frames} frames; {string.Join(", ", ends.Select(e => $"{e.Key} {e.Value}"))}{(chains > 0 ? $"; {chains} chains of rbp with {links} return addresses, all ours" : "")}");
        Assert.True(bad.Count == 0, string.Join("\n\n", bad));
    }

    private async Task StepThroughAsync(OracleKernel kernel, int steps, string append = "")
    {
        await using var guest = await OracleGuest.BootAsync(kernel, Busy, append);
        string[] entries =
        [
            "entry_SYSCALL_64", "entry_INT80_32", "entry_SYSENTER_32", "asm_exc_page_fault", "asm_sysvec_apic_timer_interrupt", "asm_common_interrupt", "error_entry",
            "error_return", "common_interrupt_return", "swapgs_restore_regs_and_return_to_usermode", "entry_SYSCALL_64_safe_stack", "ret_from_fork", "ret_from_fork_asm",
            "asm_exc_nmi", "schedule_tail", "do_syscall_64", "syscall_exit_to_user_mode", "handle_exception", "restore_all_switch_stack", "__switch_to_asm", "irqentry_exit", "syscall_return_slowpath",
        ];
        var bad = new List<string>();
        var ends = new SortedDictionary<string, int>(StringComparer.Ordinal);
        var seen = new HashSet<ulong>();
        var nmi = false;
        foreach (var entry in entries)
        {
            if (!guest.Map.Image.TryFindSymbol(entry, out var symbol))
            {
                continue;
            }

            var address = guest.Map.ToRunTime(symbol.Value);
            for (var round = 0; round < 4; round++)
            {
                if (entry == "asm_exc_nmi" && !nmi)
                {
                    nmi = true;
                    await guest.Client.MonitorAsync("nmi", CancellationToken.None);
                }

                if (!await guest.RunToAsync(address, TimeSpan.FromSeconds(3)))
                {
                    break;
                }

                for (var i = 0; i < steps; i++)
                {
                    var capture = await guest.CaptureAsync();
                    seen.Add(capture.Registers.ProgramCounter);
                    Count(ends, capture);
                    if (!EndsWell(capture.Stack, guest) && bad.Count < 40)
                    {
                        bad.Add($"from {entry}, instruction {i}: " + Describe(capture, guest));
                    }

                    await guest.StepAsync();
                }
            }
        }

        output.WriteLine($"{seen.Count} addresses; {string.Join(", ", ends.Select(e => $"{e.Key} {e.Value}"))}");
        Assert.True(seen.Count > 100);
        Assert.True(bad.Count == 0, string.Join("\n\n", bad));
    }

    /// <summary>
    /// A kernel with frame pointers: what rbp leads to needs no table at all. It begins at the innermost function that has a frame, and ends where
    /// entry code put an encoded pointer to pt_regs (bit 0 set).
    /// </summary>
    private static async Task<List<ulong>> ChainAsync(StopCapture capture, OracleGuest guest)
    {
        var chain = new List<ulong>();
        var pointer = capture.Registers[X86_64.Rbp];
        var last = capture.Registers.StackPointer;
        while (chain.Count < 100 && pointer % 8 == 0 && pointer >= last && pointer - last < 16384
            && await guest.Target.Memory.TryReadWordAsync(pointer + 8, CancellationToken.None) is { } pc && guest.Map.Unwind.IsText(pc - 1)
            && await guest.Target.Memory.TryReadWordAsync(pointer, CancellationToken.None) is { } next)
        {
            chain.Add(pc);
            last = pointer;
            pointer = next;
        }

        return chain;
    }

    private static bool IsWithin(List<ulong> chain, ImmutableArray<UnwoundFrame> frames)
    {
        var at = 0;
        foreach (var frame in frames)
        {
            at += at < chain.Count && frame.ProgramCounter == chain[at] ? 1 : 0;
        }

        return at == chain.Count;
    }

    private static void Count(SortedDictionary<string, int> ends, StopCapture capture)
    {
        var key = capture.Stack.Stop.GetType().Name;
        ends[key] = ends.GetValueOrDefault(key) + 1;
    }

    private static bool EndsWell(UnwindResult stack, OracleGuest guest) =>
        (stack.Stop is UnwindStop.UserSpace or UnwindStop.KernelThreadStart or UnwindStop.BootEntry

            // SYSENTER saves nothing: where user space was is known only once the kernel has read it from the program's own stack.
            || (stack.Stop is UnwindStop.EndOfStack { What: { } what } && what.Contains("entry_SYSENTER_32", StringComparison.Ordinal)))
        && stack.Frames.All(f => stack.Stop is UnwindStop.BootEntry { What: not null } || f.ProgramCounter == 0 || guest.Map.Unwind.IsText(f.LookupAddress));

    private static string Describe(StopCapture capture, OracleGuest guest) =>
        $"{capture.Task} sp 0x{capture.Registers.StackPointer:x} {capture.Stack.Stop}\n  {string.Join("\n  ", capture.Stack.Frames.Select(f => $"{f.Rule} {guest.Name(f)} pc 0x{f.ProgramCounter:x} sp 0x{f.Registers.StackPointer:x}"))}";
}
