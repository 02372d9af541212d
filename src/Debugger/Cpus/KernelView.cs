using KTrace.Debugger.Memory;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Cpus;

/// <summary>
/// The kernel's memory at a stop, through a CPU that sees it. Virtual addresses are those of one CPU, and one in user space may see nothing of the kernel (page-table
/// isolation); any CPU that executes the kernel does.
/// </summary>
internal static class KernelView
{
    /// <summary>Selects such a CPU, the one that stopped if it will do, while something is read.</summary>
    /// <param name="memory">Begun anew.</param>
    public static async ValueTask<T> ReadAsync<T>(Machine machine, KernelMap map, StopMemory memory, Func<CancellationToken, ValueTask<T>> read, CancellationToken cancellationToken)
    {
        await machine.ReadAllRegistersAsync(cancellationToken);
        var chosen = machine.StoppedCpu;
        foreach (var cpu in Enumerable.Range(0, (await machine.ThreadsAsync(cancellationToken)).Count).Prepend(machine.StoppedCpu))
        {
            if (CpuStates.ModeOf(await machine.RegistersAsync(cpu, cancellationToken), map) == CpuMode.Kernel)
            {
                chosen = cpu;
                break;
            }
        }

        memory.Clear();
        memory.Enter(await machine.RegisterBlockAsync(chosen, cancellationToken));
        await machine.SelectAsync(chosen, cancellationToken);
        try
        {
            return await read(cancellationToken);
        }
        finally
        {
            await machine.SelectAsync(machine.StoppedCpu, CancellationToken.None);
        }
    }
}
