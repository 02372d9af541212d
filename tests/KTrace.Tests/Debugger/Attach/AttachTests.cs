using System.Collections.Immutable;
using KTrace.Boot.Kernels;
using KTrace.Debugger;
using KTrace.Debugger.Attach;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Phases;
using KTrace.Rsp;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;
using Xunit.Abstractions;
using ModuleFiles = KTrace.Debugger.Modules.ModuleFiles;

namespace KTrace.Tests.Debugger.Attach;

/// <summary>Guests that somebody else started, with KASLR on. The truth is /proc/kallsyms, /proc/modules and /sys/module in the guest.</summary>
[Collection(nameof(BootsCollection))]
public sealed class AttachTests(ITestOutputHelper output)
{
    private const string Busy = "(while :; do :; done) & (while :; do :; done) &";

    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));

    [Fact]
    public async Task A_running_guest_is_told_apart_taken_over_left_and_answers_as_before()
    {
        await using var guest = await ForeignGuest.StartAsync(Stock, "pti=on", cpus: 2);
        await guest.WaitUntilReadyAsync();
        var text = await guest.AskAddressAsync("grep -w _text /proc/kallsyms");
        var moduleText = await guest.AskAddressAsync("cat /sys/module/e1000e/sections/.text");
        var modules = (await guest.AskAsync("cut -d' ' -f1 /proc/modules")).Split("\r\n");

        await using (var machine = await ConnectAsync(guest))
        {
            var identity = await KernelIdentity.TryReadAsync(machine, default);
            Assert.NotNull(identity);
            Assert.Equal((X86_64.Instance, StockKernel.Release, 4), (identity.Architecture, identity.Release, identity.PagingLevels));
            Assert.Equal(Hex(Image.Value.BuildId), Hex(identity.BuildId));
            Assert.Equal(Image.Value.Banner, identity.Banner);

            using var files = new ModuleFiles(KernelPlaces.ModulesBeside(StockKernel.Vmlinux, identity.Release));
            var target = await KernelTarget.AttachAsync(machine, Image.Value, files, null, default);
            Assert.Equal(text, target.Map.ToRunTime(LinkAddress("_text")));
            Assert.Equal([.. modules.Reverse()], target.Map.Modules.Select(m => m.Name).ToArray());
            Assert.Equal(moduleText, target.Map.Modules.Single(m => m.Name == "e1000e").TextBase);
            Assert.Contains(target.Map.Modules.Single(m => m.Name == "e1000e").Symbols!.Find("e1000_request_irq"), s => s.Symbol.Value > moduleText);

            // The idle loop wakes up for the timer.
            await machine.Sites.AddAsync(BreakpointSite.Code(target.Map.ToRunTime(LinkAddress("tick_sched_timer"))), this, default);
            await machine.Client.ContinueAsync();
            await machine.Client.WaitForStopAsync();
            Assert.Equal("tick_sched_timer", target.Map.Symbolize((await machine.RegistersAsync()).ProgramCounter)[^1].Function);
            await target.DetachAsync();
        }

        Assert.Equal("42", await guest.AskAsync("echo $((6*7))"));
    }

    [Fact]
    public async Task Wherever_the_guest_is_stopped_its_kernel_is_found_and_it_runs_on()
    {
        await using var guest = await ForeignGuest.StartAsync(Stock, "pti=on", cpus: 2, begin: Busy);
        await guest.WaitUntilReadyAsync();
        var text = await guest.AskAddressAsync("grep -w _text /proc/kallsyms");
        var phases = new List<BootPhase>();
        for (var i = 0; i < 8 || (i < 200 && !phases.Contains(BootPhase.User)); i++)
        {
            await using var machine = await ConnectAsync(guest);
            var target = await KernelTarget.AttachAsync(machine, Image.Value, null, null, default);
            Assert.Equal(text, target.Map.ToRunTime(LinkAddress("_text")));
            phases.Add((await new BootPhases(Image.Value, BootCode.None) { Kernel = target.Map }.LocateAsync(machine)).Phase);
            await target.DetachAsync();
        }

        output.WriteLine(string.Join(' ', phases));
        Assert.Contains(BootPhase.User, phases);
        Assert.Equal("42", await guest.AskAsync("echo $((6*7))"));
    }

    [Fact]
    public async Task A_machine_that_has_not_booted_yet_is_let_run_until_its_kernel_comes()
    {
        await using var guest = await ForeignGuest.StartAsync(Stock, "", extra: ["-S"]);
        await using var machine = await ConnectAsync(guest);
        Assert.Null(await KernelIdentity.TryReadAsync(machine, default));
        using var files = new ModuleFiles([]);
        var target = await KernelTarget.AttachAsync(machine, Image.Value, files, null, default);
        var slide = target.Map.Slide;
        await target.DetachAsync();
        await guest.WaitUntilReadyAsync();
        Assert.Equal(slide, await guest.AskAddressAsync("grep -w _text /proc/kallsyms") - LinkAddress("_text"));
    }

    [Fact]
    public async Task A_client_that_vanished_leaves_a_guest_that_the_next_one_frees()
    {
        await using var guest = await ForeignGuest.StartAsync(Stock, "");
        await guest.WaitUntilReadyAsync();
        await using (var machine = await ConnectAsync(guest))
        {
            var target = await KernelTarget.AttachAsync(machine, Image.Value, null, null, default);
            await machine.Sites.AddAsync(BreakpointSite.Code(target.Map.ToRunTime(LinkAddress("tick_sched_timer"))), this, default);
            await machine.Client.ContinueAsync();
            await machine.Client.WaitForStopAsync();
        }

        await using (var machine = await ConnectAsync(guest))
        {
            var target = await KernelTarget.AttachAsync(machine, Image.Value, null, null, default);
            await target.DetachAsync();
        }

        Assert.Equal("42", await guest.AskAsync("sleep 0.1; echo $((6*7))"));
    }

    [SkippableFact]
    public async Task Another_build_than_the_guests_is_refused_with_what_the_guest_runs()
    {
        var other = OracleKernels.Open("other");
        await using var guest = await ForeignGuest.StartAsync(Stock, "");
        await guest.WaitUntilReadyAsync();
        await using var machine = await ConnectAsync(guest);
        var e = await Assert.ThrowsAsync<TargetException>(() => KernelTarget.AttachAsync(machine, KernelImage.Open(other.Vmlinux), null, null, default));
        Assert.Contains($"is not the kernel that the guest runs ({StockKernel.Release}, x86-64, build {Hex(Image.Value.BuildId)})", e.Message);
    }

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("tree:tiny32", "", 2)]
    [InlineData("tree:pae32", "", 3)]
    public async Task A_32_bit_guest_is_taken_over_as_well(string name, string append, int levels)
    {
        var kernel = OracleKernels.Open(name);
        var image = KernelImage.Open(kernel.Vmlinux);
        await using var guest = await ForeignGuest.StartAsync(kernel, append);
        await guest.WaitUntilReadyAsync();
        var slide = await guest.AskAddressAsync("grep -w _text /proc/kallsyms") - (image.TryFindSymbol("_text", out var symbol) ? symbol.Value : 0);
        await using var machine = await ConnectAsync(guest);
        Assert.Same(I386.Instance, machine.Architecture);
        var identity = await KernelIdentity.TryReadAsync(machine, default);
        Assert.Equal((Hex(image.BuildId), image.Banner, levels), (Hex(identity!.BuildId), identity.Banner, identity.PagingLevels));
        var target = await KernelTarget.AttachAsync(machine, image, null, null, default);
        Assert.Equal(slide, target.Map.Slide);
        await target.DetachAsync();
        Assert.Equal("42", await guest.AskAsync("echo $((6*7))"));
    }

    private static string Hex(ImmutableArray<byte> id) => Convert.ToHexStringLower(id.AsSpan());

    private static OracleKernel Stock => OracleKernel.Package(StockKernel.Root, StockKernel.Release);

    private static async Task<Machine> ConnectAsync(ForeignGuest guest)
    {
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                return await Machine.ConnectAsync(guest.Endpoint, null, new MachineOptions());
            }
            catch (RspException e) when (e.Kind == RspErrorKind.Disconnected && attempt < 600)
            {
                // QEMU has only been started.
                await Task.Delay(100);
            }
        }
    }

    private static ulong LinkAddress(string name) => Image.Value.TryFindSymbol(name, out var symbol) ? symbol.Value : throw new InvalidOperationException(name);
}
