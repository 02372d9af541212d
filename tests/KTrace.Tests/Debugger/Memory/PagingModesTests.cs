using System.Buffers.Binary;
using KTrace.Boot.Scenarios;
using KTrace.Debugger.Memory;
using KTrace.Rsp;
using KTrace.Symbols.Arch;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.Memory;

/// <summary>
/// Tables of nonsense in a real QEMU whose processor is put into each paging mode: entries that point to themselves, into devices, beyond RAM, with reserved
/// bits. The stub and the monitor walk them too, and all three have to agree.
/// </summary>
public sealed class PagingModesTests(ITestOutputHelper output)
{
    private const ulong Tables = 0x20_0000;
    private const int TablePages = 64;
    private const int Megabytes = 32;

    [Fact]
    public async Task Nonsense_is_translated_as_a_64_bit_QEMU_does_in_every_mode()
    {
        await using var machine = await MappedMachine.StartAsync(X86_64.Instance, new Scenario { Memory = Megabytes, Cpu = "qemu64,+la57,+pdpe1gb" });
        await CompareAsync(machine, PagingKind.Off, cr4: 0);
        await CompareAsync(machine, PagingKind.TwoLevels, cr4: 0);
        await CompareAsync(machine, PagingKind.TwoLevels, cr4: 0x10);
        await CompareAsync(machine, PagingKind.Pae, cr4: 0x20);
        await CompareAsync(machine, PagingKind.FourLevels, cr4: 0x20, efer: 0xd00);
        await CompareAsync(machine, PagingKind.FiveLevels, cr4: 0x1020, efer: 0xd00);
    }

    [Fact]
    public async Task Nonsense_is_translated_as_a_32_bit_QEMU_does_in_every_mode()
    {
        await using var machine = await MappedMachine.StartAsync(I386.Instance, new Scenario { Memory = Megabytes });
        await CompareAsync(machine, PagingKind.Off, cr4: 0);
        await CompareAsync(machine, PagingKind.TwoLevels, cr4: 0);
        await CompareAsync(machine, PagingKind.TwoLevels, cr4: 0x10);
        await CompareAsync(machine, PagingKind.Pae, cr4: 0x20);
    }

    private async Task CompareAsync(MappedMachine guest, PagingKind kind, ulong cr4, ulong efer = 0)
    {
        var random = new Random((int)kind + (int)cr4);
        await WriteTablesAsync(guest, random, kind == PagingKind.TwoLevels ? 4 : 8);
        await guest.Machine.SetRegisterAsync(0, "cr0", 1);
        await guest.Machine.SetRegisterAsync(0, "cr4", cr4);
        await guest.Machine.SetRegisterAsync(0, "efer", efer);

        // With CR3's flags (PWT, PCD), which are no part of the address.
        await guest.Machine.SetRegisterAsync(0, "cr3", Tables | 0x18);
        await guest.Machine.SetRegisterAsync(0, "cr0", kind == PagingKind.Off ? 1 : 0x8000_0001);

        var mode = new PagingRegisters(guest.Client.Layout).Read(await guest.Machine.RegisterBlockAsync())!.Value;
        Assert.Equal(kind, mode.Kind);
        var ram = guest.Machine.Memory.Ram!;
        var both = new TwoWays(guest.Machine);
        var outcomes = new Dictionary<TranslationStatus, int>();
        for (var i = 0; i < 600; i++)
        {
            var address = AddressIn(mode, random);
            var ours = PageTables.Translate(address, mode, ram);
            outcomes[ours.Status] = outcomes.GetValueOrDefault(ours.Status) + 1;
            if (ours.Status != TranslationStatus.Unknown)
            {
                Assert.Equal(await guest.TranslateAsync(address), ours.Status == TranslationStatus.Mapped ? ours.Physical : null);
            }

            await both.CompareAsync(address, i % 10 == 0 ? random.Next(1, 9000) : random.Next(1, 64));
        }

        // A physical read that is given up in the middle leaves the stub with virtual addresses, or all that follows would differ.
        using var cancel = new CancellationTokenSource(TimeSpan.FromMilliseconds(20));
        var stub = new GuestMemory(guest.Client, 8);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            while (true)
            {
                await stub.ReadPhysicalAsync(0, new byte[Megabytes << 20], cancel.Token);
            }
        });
        Assert.Equal(RspState.Stopped, guest.Client.State);
        for (var i = 0; i < 20; i++)
        {
            await both.CompareAsync(AddressIn(mode, random), 16);
        }

        output.WriteLine($"{kind} {(cr4 & 0x10) >> 4}: {both}; {string.Join(", ", outcomes)}");
        Assert.True(kind == PagingKind.Off || outcomes.GetValueOrDefault(TranslationStatus.Mapped) > 50);
        Assert.True(kind == PagingKind.Off || outcomes.GetValueOrDefault(TranslationStatus.Unmapped) > 20);
    }

    /// <summary>Where few bits are set, entries of the first tables are met again and again; some addresses are anything at all.</summary>
    private static ulong AddressIn(in PagingMode mode, Random random)
    {
        var address = random.Next(4) == 0 ? (ulong)random.NextInt64() * 2
            : mode.Kind == PagingKind.Off ? (ulong)random.NextInt64(Megabytes << 20)
            : (ulong)random.NextInt64() & 0x0000_7fff_ffff_ffff;
        if (mode.Kind == PagingKind.FiveLevels && random.Next(2) == 0)
        {
            address |= (ulong)random.Next(256) << 48;
        }

        return (random.Next(3) == 0 && mode.Kind >= PagingKind.FourLevels ? address | 0xffff_8000_0000_0000 : address) & mode.AddressMask;
    }

    private static async Task WriteTablesAsync(MappedMachine guest, Random random, int entrySize)
    {
        var tables = new byte[TablePages * 4096];
        for (var at = 0; at < tables.Length; at += entrySize)
        {
            ulong target = random.Next(20) switch
            {
                0 => 0xfee0_0000UL,                                           // a device
                1 => 0x000f_0000,                                             // a ROM
                2 => (ulong)random.NextInt64() & 0x000f_ffff_ffff_f000,       // anywhere
                3 => (ulong)random.Next(Megabytes << 8) << 12,                // any page of RAM, most of them empty
                4 => Tables,                                                  // the topmost table itself
                5 => 0xffff_f000,
                _ => Tables + ((ulong)random.Next(TablePages) << 12),
            };
            var flags = (ulong)random.Next(4096) & ~0x81UL;
            flags |= random.Next(12) > 0 ? 1UL : 0;
            flags |= random.Next(5) == 0 ? 0x80UL : 0;
            if (entrySize == 8)
            {
                // NX, and bits that processors reserve or ignore.
                BinaryPrimitives.WriteUInt64LittleEndian(tables.AsSpan(at), target | flags | ((ulong)random.Next(4096) << 52));
            }
            else
            {
                BinaryPrimitives.WriteUInt32LittleEndian(tables.AsSpan(at), (uint)(target | flags));
            }
        }

        await guest.Client.SetPhysicalMemoryModeAsync(true);
        await guest.Client.WriteMemoryAsync(Tables, tables);
        await guest.Client.SetPhysicalMemoryModeAsync(false);
    }
}
