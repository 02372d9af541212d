using KTrace.Debugger;
using KTrace.Debugger.Cpus;
using KTrace.Debugger.Interrupts;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.Interrupts;

/// <summary>A guest whose memory lies: trees that point to themselves, names without an end, numbers out of any range.</summary>
public sealed class HostileDescriptorsTests
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Random_memory_gives_an_answer_in_bounded_time(int seed)
    {
        // Every page is there, and what is in it looks like the pointers that a tree has: to nodes, to structures, to itself.
        ulong[] pointers = [0xffff888000001002, 0xffff888000001000, 0xffff888000002040, 0xffff88800000301e, 0, 0x41, ulong.MaxValue, 0xffffffff81000000];
        byte[] Page(ulong address, int length)
        {
            var bytes = new byte[length];
            for (var i = 0; i < length; i++)
            {
                var at = address + (ulong)i;
                var hash = ((at / 8) + (ulong)seed) * 0x9e3779b97f4a7c15;
                bytes[i] = (byte)(pointers[(hash >> 40) % (ulong)pointers.Length] >> (int)(8 * (at % 8)));
            }

            return bytes;
        }

        await using var stub = Cpu();
        stub.Everywhere = Page;
        await using var machine = new Machine(await stub.ConnectAsync(), X86_64.Instance);
        var map = new KernelMap(Image.Value, 0);

        var irqs = await new IrqSnapshot(machine, map).ReadAsync();
        var cpus = await CpuStates.ReadAsync(machine, map);

        Assert.True(irqs.Length <= IrqDescriptors.Maximum);
        Assert.All(irqs, i => Assert.True(i.Actions.Length <= 64 && i.Levels.Length <= 8));
        Assert.NotEmpty(cpus);
    }

    [Fact]
    public async Task A_tree_whose_nodes_point_to_themselves_ends()
    {
        var map = new KernelMap(Image.Value, 0);
        Assert.True(Image.Value.TryFindSymbol("irq_desc_tree", out var tree));
        Assert.True(Image.Value.Layouts.TryFindMember("xarray", "xa_head", out var head));
        Assert.True(Image.Value.Layouts.TryFindMember("xa_node", "slots", out var slots));
        Assert.True(Image.Value.Layouts.TryGetSize("xa_node", out var size));
        const ulong node = 0xffff888000001000;
        await using var stub = Cpu();
        stub.PutWord(tree.Value + (ulong)head.ByteOffset, node | 2);
        var bytes = new byte[size];
        bytes[0] = 6;
        for (var i = 0; i < slots.ElementCount; i++)
        {
            BitConverter.TryWriteBytes(bytes.AsSpan(slots.ByteOffset + (8 * i)), node | 2);
        }

        stub.Put(node, bytes);
        await using var machine = new Machine(await stub.ConnectAsync(), X86_64.Instance);

        Assert.Empty(await new IrqSnapshot(machine, map).ReadAsync());
    }

    [Fact]
    public async Task Without_any_memory_there_are_no_descriptors_and_no_tasks()
    {
        await using var stub = Cpu();
        await using var machine = new Machine(await stub.ConnectAsync(), X86_64.Instance);
        var map = new KernelMap(Image.Value, 0);

        Assert.Empty(await new IrqSnapshot(machine, map).ReadAsync());
        Assert.All(await CpuStates.ReadAsync(machine, map), cpu => Assert.Null(cpu.Task));
    }

    private static MemoryStub Cpu() => MemoryStub.WithCpu(0xffffffff81000000, 0xffff888000000000);
}
