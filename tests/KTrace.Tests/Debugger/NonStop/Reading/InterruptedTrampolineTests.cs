using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop.Reading;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Rsp;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Cli;
using KTrace.Tests.Debugger.NonStop.Trampolines;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Reading;

/// <summary>A CPU that stands at each instruction of KTrace's own code in turn: what an interrupt there would find on the stack.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class InterruptedTrampolineTests(ITestOutputHelper output)
{
    private const int Calls = 4, MaximumSteps = 1000;

    [Fact]
    public async Task From_every_instruction_of_a_trampoline_and_of_a_return_stub_the_same_path_is_found()
    {
        await using var guest = await TracedGuest.BootAsync(TracedGuest.Stock, "ls -lR /sys/class > /dev/null");
        var returns = guest.PlaceReturns();
        var entry = guest.Place(new TrampolineProgram(0, 256) { Returns = true }, returns: returns);
        await guest.ArmAsync(name => name.StartsWith("kernfs_", StringComparison.Ordinal) || name.StartsWith("vfs_", StringComparison.Ordinal), entry);
        var code = new NonStopReadingOptions
        {
            Code = [returns.Code, EntryTrampoline.Assemble(guest.Offsets, guest.Memory.Layout, new TrampolineProgram(0, 256) { Returns = true }, false, entry, returns)],
            Stubs = new ReturnStubs(returns.StubAddress(0), 16),
        };
        var stacks = new StandingStacks(guest.Map, code, guest.Memory);
        var inside = new HashSet<ulong>();
        for (var call = 0; call < Calls; call++)
        {
            await guest.RunToAsync(entry);
            await WalkAsync(guest, stacks, code.Code[1], inside);

            // The entry that this call has taken: they are given out one after the other.
            await guest.RunToAsync(returns.StubAddress(call));
            await WalkAsync(guest, stacks, returns.Code, inside);
        }

        output.WriteLine($"{inside.Count} instructions");
        Assert.True(inside.Count > 150, $"{inside.Count} instructions");
        await guest.RunToEndAsync(_ => { });
    }

    /// <summary>Steps through one passage of a block; the path is that of its first instruction all the time.</summary>
    private static async Task WalkAsync(TracedGuest guest, StandingStacks stacks, CodeBlock block, HashSet<ulong> inside)
    {
        string? expected = null;
        for (var step = 0; step < MaximumSteps; step++)
        {
            var machine = guest.Target.Machine;
            var registers = await machine.RegistersAsync(null);
            if (!block.Contains(registers.ProgramCounter))
            {
                return;
            }

            var memory = new StopMemory(guest.Client, guest.Target.Memory.Ram);
            memory.Enter(await machine.RegisterBlockAsync(null));
            var result = stacks.Unwind(registers, memory);
            Assert.True(result.Stop is UnwindStop.UserSpace or UnwindStop.KernelThreadStart or UnwindStop.BootEntry or UnwindStop.EndOfStack, $"0x{registers.ProgramCounter - block.Address:x}: {result.Stop}");
            var path = string.Join(" < ", result.Frames.Select(f => guest.Map.NameOf(f.LookupAddress)!.Split('+')[0]));
            expected ??= path;
            Assert.True(path == expected, $"at 0x{registers.ProgramCounter - block.Address:x} of the block:\n{path}\nbefore it:\n{expected}");
            Assert.DoesNotContain(result.Frames, f => block.Contains(f.ProgramCounter) && f.OriginalCounter is null);
            inside.Add(registers.ProgramCounter);
            await guest.Client.StepAsync();
            Assert.IsType<StopReply.Stopped>(await guest.Client.WaitForStopAsync());
        }

        Assert.Fail("the trampoline does not end");
    }
}
