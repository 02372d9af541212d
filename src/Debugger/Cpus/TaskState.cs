// include/linux/sched.h, the same values from 4.14 to 6.12; the letters are those of fs/proc/array.c, task_state_array.
namespace KTrace.Debugger.Cpus;

/// <summary>What a task does or waits for.</summary>
/// <param name="Raw">task_struct.__state (before 5.14 state), with exit_state.</param>
public readonly record struct TaskState(uint Raw)
{
    private const uint Interruptible = 1, Uninterruptible = 2, Stopped = 4, Traced = 8, Dead = 0x10, Zombie = 0x20, Parked = 0x40;
    private const uint Idle = Uninterruptible | NoLoad, NoLoad = 0x400;

    /// <summary>As /proc/PID/status and ps have it: R, S, D, T, t, X, Z, P, I.</summary>
    public char Letter => (Raw & Dead) != 0 ? 'X'
        : (Raw & Zombie) != 0 ? 'Z'
        : (Raw & Idle) == Idle ? 'I'
        : (Raw & Parked) != 0 ? 'P'
        : (Raw & Traced) != 0 ? 't'
        : (Raw & Stopped) != 0 ? 'T'
        : (Raw & Uninterruptible) != 0 ? 'D'
        : (Raw & Interruptible) != 0 ? 'S'
        : 'R';

    /// <summary>The same as words of /proc.</summary>
    public string Words => Letter switch
    {
        'S' => "sleeping",
        'D' => "disk sleep",
        'T' => "stopped",
        't' => "tracing stop",
        'X' => "dead",
        'Z' => "zombie",
        'P' => "parked",
        'I' => "idle",
        _ => "running",
    };

    public override string ToString() => $"{Letter} ({Words})";
}
