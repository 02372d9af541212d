using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Phases;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Cli;
using KTrace.Tests.Debugger.Memory;
using KTrace.Tests.Support;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.Phases;

/// <summary>
/// Real boots from the reset vector to start_kernel with KASLR on, stopped on the way. Where things are comes from the boot protocol, from the files of the kernel's build (zoffset and
/// symbols, read by our ELF reader, which other tests compare with nm), and from what the CPU itself says at the jump to the kernel.
/// </summary>
[Collection(nameof(BootsCollection))]
public sealed class BootWalkTests(ITestOutputHelper output)
{
    // QEMU's linuxboot option ROM puts the setup code at 0x10000 and enters it at its second sector (hw/i386/x86.c, 7.2).
    private const ulong SetupStart = 0x10000;
    private const ulong DecompressorStart = 0x100000;

    [Fact]
    public async Task A_stock_kernel_is_followed_by_its_image_alone_until_it_has_names()
    {
        var kernel = OracleKernel.Package(StockKernel.Root, StockKernel.Release);
        var image = KernelImage.Open(kernel.Vmlinux);
        await using var walk = await WalkAsync(kernel, image, BootCode.Open(kernel.Image));

        await walk.ExpectAsync(BootPhase.RealMode, 0xfffffff0, 16, "real mode, f000:fff0 (reset vector)", null);
        await walk.StepAsync();
        Assert.Matches("^real mode, f000:[0-9a-f]{4} \\(BIOS\\)$", (await walk.LocateAsync()).Words);
        await walk.RunToAsync(SetupStart + 0x200);
        await walk.ExpectAsync(BootPhase.RealMode, SetupStart + 0x200, 16, "real mode, 1020:0000, setup code of the kernel at 0x10000, no symbols: give --build-tree", null);
        await walk.StepAsync();
        await walk.ExpectAsync(BootPhase.RealMode, null, 16, "real mode, 1020:006c, setup code of the kernel at 0x10000, no symbols: give --build-tree", null);
        await walk.RunToAsync(DecompressorStart);
        await walk.ExpectAsync(BootPhase.Decompressor, DecompressorStart, 32, "decompressor of the bzImage at 0x100000, no symbols: give --build-tree", null);
        await walk.RunToAsync(DecompressorStart + 0x200);
        await walk.ExpectAsync(BootPhase.Decompressor, DecompressorStart + 0x200, 64, "decompressor of the bzImage at 0x100000, no symbols: give --build-tree", null);
        await walk.RunToKernelAsync();
        await walk.ExpectAsync(BootPhase.PhysicalKernel, null, 64, null, "startup_64");
        await walk.ArriveAtStartKernelAsync();
        await walk.ExpectAsync(BootPhase.Kernel, null, 64, "kernel", "start_kernel");
    }

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("tree:tiny64", 64)]
    [InlineData("tree:tiny32", 32)]
    public async Task A_kernel_with_its_build_tree_has_names_from_its_first_instruction_on(string name, int bits)
    {
        var kernel = OracleKernels.Open(name);
        var tree = Path.GetDirectoryName(kernel.Vmlinux)!;
        var image = KernelImage.Open(kernel.Vmlinux);
        var setup = KernelImage.Open(Path.Combine(tree, "arch/x86/boot/setup.elf"));
        var decompressor = KernelImage.Open(Path.Combine(tree, "arch/x86/boot/compressed/vmlinux"));
        await using var walk = await WalkAsync(kernel, image, BootCode.Open(kernel.Image, tree));

        await walk.ExpectAsync(BootPhase.RealMode, 0xfffffff0, 16, "real mode, f000:fff0 (reset vector)", null);
        await walk.RunToAsync(SetupStart + 0x200);
        await walk.ExpectAsync(BootPhase.RealMode, null, 16, "real mode, 1020:0000, setup code of the kernel at 0x10000", "_start");
        await walk.StepAsync();
        await walk.ExpectAsync(BootPhase.RealMode, null, 16, null, "start_of_setup");
        foreach (var function in (string[])["main", "detect_memory", "go_to_protected_mode"])
        {
            await walk.RunToAsync(SetupStart + Address(setup, function));
            var location = await walk.ExpectAsync(BootPhase.RealMode, null, 16, null, function);
            Assert.EndsWith(".c", location.Map!.Symbolize(location.LinearPc)[^1].Source!.File);
        }

        await walk.RunToAsync(DecompressorStart);
        await walk.ExpectAsync(BootPhase.Decompressor, DecompressorStart, 32, "decompressor of the bzImage at 0x100000", "startup_32");
        if (bits == 64)
        {
            await walk.RunToAsync(DecompressorStart + 0x200);
            await walk.ExpectAsync(BootPhase.Decompressor, null, 64, "decompressor of the bzImage at 0x100000", "startup_64");
        }

        // arch/x86/boot/compressed/head_{32,64}.S: it moves to the end of the memory that the kernel needs.
        var parts = BootParts.TryOpen(kernel.Image)!;
        var moved = parts.PreferredAddress + parts.MemoryNeeded - Address(decompressor, "_end");
        await walk.RunToAsync(moved + Address(decompressor, "extract_kernel"));
        await walk.ExpectAsync(BootPhase.Decompressor, null, bits, $"decompressor of the bzImage at 0x{moved:x}", "extract_kernel");
        await walk.RunToKernelAsync();
        await walk.ExpectAsync(BootPhase.PhysicalKernel, null, bits, null, bits == 64 ? "startup_64" : "startup_32");
        await walk.ArriveAtStartKernelAsync();
        await walk.ExpectAsync(BootPhase.Kernel, null, bits, "kernel", "start_kernel");
    }

    private static ulong Address(KernelImage image, string name) => image.TryFindSymbol(name, out var symbol) ? symbol.Value : throw new InvalidOperationException(name);

    private async Task<Walk> WalkAsync(OracleKernel kernel, KernelImage image, BootCode code)
    {
        Assert.Empty(code.Problems);
        var scenario = new Scenario { Architecture = kernel.Architecture, Append = "console=ttyS0" };
        var guest = await MappedMachine.StartAsync(image.Architecture, QemuCommandLine.For(scenario, kernel.Image, null));
        return new Walk(guest, image, new BootPhases(image, code), BootParts.TryOpen(kernel.Image)!, output);
    }

    private sealed class Walk(MappedMachine guest, KernelImage image, BootPhases phases, BootParts parts, ITestOutputHelper output) : IAsyncDisposable
    {
        public async Task<PhaseLocation> LocateAsync()
        {
            var location = await phases.LocateAsync(guest.Machine);
            output.WriteLine($"{location} {location.Map?.Symbolize(location.LinearPc)[^1]}");
            return location;
        }

        public async Task<PhaseLocation> ExpectAsync(BootPhase phase, ulong? pc, int bits, string? words, string? function)
        {
            var location = await LocateAsync();
            Assert.Equal((phase, pc ?? location.LinearPc, bits, words ?? location.Words), (location.Phase, location.LinearPc, location.CodeBits, location.Words));
            Assert.Equal(function, location.Map?.Symbolize(location.LinearPc)[^1].Function);
            return location;
        }

        public async Task StepAsync()
        {
            await guest.Client.StepAsync();
            await guest.Client.WaitForStopAsync();
        }

        public async Task RunToAsync(ulong address)
        {
            await RunToAsync(new BreakpointSite(BreakpointKind.Hardware, address));
            Assert.Equal(address, (await LocateAsync()).LinearPc);
        }

        /// <summary>To the kernel's first instruction, which the decompressor jumps to: its address is what extract_kernel returns.</summary>
        public async Task RunToKernelAsync()
        {
            var architecture = guest.Machine.Architecture;
            if (architecture is X86_64 && (await LocateAsync()).LinearPc == DecompressorStart + 0x200)
            {
                // head_64.S: subl $rva(_end), %ebx in startup_64; call extract_kernel; movq %r15, %rsi; jmp *%rax behind the compressed kernel (6.1 and 6.12).
                var code = parts.Decompressor.Span.ToArray();
                var end = BitConverter.ToUInt32(code, code.AsSpan(0x200).IndexOf((ReadOnlySpan<byte>)[0x81, 0xeb]) + 0x202);
                var behind = (int)(parts.PayloadOffset + parts.PayloadLength);
                var call = behind + code.AsSpan(behind).IndexOf((ReadOnlySpan<byte>)[0x4c, 0x89, 0xfe, 0xff, 0xe0]) - 5;
                await RunToAsync(parts.PreferredAddress + parts.MemoryNeeded - end + (ulong)call);
                Assert.Equal(BootPhase.Decompressor, (await LocateAsync()).Phase);
                await StepAsync();
            }

            var stack = (await guest.Machine.RegistersAsync()).StackPointer;
            await RunToAsync(new BreakpointSite(BreakpointKind.ReadWatchpoint, stack, architecture.WordSize));
            Assert.Equal(BootPhase.Decompressor, (await LocateAsync()).Phase);
            await RunToAsync((await guest.Machine.RegistersAsync())[architecture is X86_64 ? X86_64.Rax : I386.Eax]);
        }

        public async Task ArriveAtStartKernelAsync()
        {
            var physical = (await LocateAsync()).Map!.Slide;
            var target = await KernelTarget.IdentifyAsync(guest.Machine, image, null, default);
            Assert.Empty(guest.Machine.Sites.All);
            if (image.Architecture is I386)
            {
                // Paging is still off, and one slide holds for both kinds of addresses.
                await ExpectAsync(BootPhase.PhysicalKernel, null, 32, null, "startup_32");
                Assert.Equal((uint)physical, (uint)(target.Map.Slide - 0xc0000000));
            }
            else
            {
                await ExpectAsync(BootPhase.Kernel, null, 64, "kernel", "copy_bootdata");
            }

            await RunToAsync(target.Map.ToRunTime(Address(image, "start_kernel")));
        }

        public ValueTask DisposeAsync() => guest.DisposeAsync();

        private async Task RunToAsync(BreakpointSite site)
        {
            await guest.Machine.Sites.AddAsync(site, this, default);
            await guest.Client.ContinueAsync();
            await guest.Client.WaitForStopAsync().AsTask().WaitAsync(TimeSpan.FromMinutes(2));
            await guest.Machine.Sites.RemoveAsync(site, this, default);
        }
    }
}
