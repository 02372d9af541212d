using System.Collections.Immutable;
using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Relocation;

/// <summary>Real boots in which the first instructions of every function that can be asked for run elsewhere, from rest_init to power-off.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class RelocatedBootTests(ITestOutputHelper output)
{
    private const string Work = "ifconfig eth0 up\nfor i in 1 2 3 4 5 6 7 8 9; do [ \"$(cat /sys/class/net/eth0/carrier)\" = 1 ] && break; sleep 1; done\ncat /proc/interrupts\nls -lR /sys/class > /dev/null\n(exit 3)\necho DONE";

    [Fact]
    public async Task A_stock_kernel_runs_with_the_functions_relocated_that_its_tracer_cannot_trace() =>
        await RunAsync(OracleKernel.Package(StockKernel.Root, StockKernel.Release), cpus: 1, atLeast: 5_000, calledAtLeast: 200);

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("tree:tiny64", 1)]
    [InlineData("tree:tiny64", 4)]
    [InlineData("tree:tiny32", 1)]
    public async Task A_kernel_without_the_function_tracer_runs_with_its_functions_relocated(string kernel, int cpus) =>
        await RunAsync(OracleKernels.Open(kernel), cpus, atLeast: 15_000, calledAtLeast: 3_000);

    private async Task RunAsync(OracleKernel kernel, int cpus, int atLeast, int calledAtLeast)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(4));
        var untraced = await CoexistingGuest.BootUntracedAsync(kernel, Work, "", cpus);
        await using var guest = await CoexistingGuest.BootAsync(kernel, Work, "", cpus, patience.Token);
        var functions = await ArmAsync(guest, patience.Token);
        Assert.True(functions.Count >= atLeast, $"{functions.Count} armed");
        string console;
        try
        {
            console = await guest.RunToEndAsync(_ => Task.CompletedTask, patience.Token);
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException(guest.ConsoleTail);
        }

        var counts = functions.Select((name, index) => (Name: name, Calls: guest.CountOf(index))).ToList();
        output.WriteLine($"{functions.Count} armed, {counts.Count(c => c.Calls > 0)} called, {counts.Sum(c => (long)c.Calls)} calls");
        Assert.Contains("DONE", console, StringComparison.Ordinal);
        Assert.Empty(BootComparison.Differences(untraced, console));
        Assert.True(counts.Count(c => c.Calls > 0) >= calledAtLeast, $"{counts.Count(c => c.Calls > 0)} were called");
    }

    private static async Task<List<string>> ArmAsync(CoexistingGuest guest, CancellationToken cancellationToken)
    {
        var code = RelocatableCode.Of(guest.Map.Image);
        var patches = new List<SitePatch>();
        var names = new List<string>();
        foreach (var symbol in guest.Map.Image.Symbols.All.Where(s => s is { IsFunction: true, Size: > 0 }).DistinctBy(s => s.Value))
        {
            if (!RelocatedEntry.TryPlan(code, symbol.Value, out var plan, out _) || guest.Memory!.CodeLeft < plan.MaximumBlockSize + 64)
            {
                continue;
            }

            var entry = guest.Map.ToRunTime(symbol.Value);
            var bytes = new byte[plan.Length];
            Assert.True(await guest.Target.Memory.TryReadAsync(entry + (ulong)plan.PatchOffset, bytes, cancellationToken));
            if (plan.Inside(entry).Contains((await guest.Machine.RegistersAsync(null, cancellationToken)).ProgramCounter))
            {
                continue;
            }

            var trampoline = guest.PlaceCounter(names.Count);
            if (!plan.TryAssemble(guest.Memory.NextCode, trampoline, entry, bytes, out var block, out var reason))
            {
                throw new InvalidOperationException($"{symbol.Name}: {reason}");
            }

            guest.Memory.Place(block.Block);
            var site = new NonStopSite(entry, block.Patch, block.Return, block.Original, null);
            patches.Add(new SitePatch(site, block.Jump.AsMemory()));
            names.Add(symbol.Name);
        }

        var refused = await guest.Sites.ArmAsync(patches, cancellationToken);
        Assert.Empty(refused.Select(r => guest.Map.NameOf(r.Entry)));
        return names;
    }
}
