using KTrace.Tests.Cli;
using KTrace.Tests.Debugger.NonStop.Trampolines;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Conditions;

/// <summary>Compiled conditions say of a call what the evaluator says at a stop, on a real CPU over a real kernel's memory.</summary>
[Collection(nameof(BootsCollection))]
public sealed class ConditionSemanticsTests(ITestOutputHelper output)
{
    private const string Loop = "while true; do read line < /proc/uptime; done";

    /// <summary>Over vfs_read(struct file *file, char *buf, size_t count, loff_t *pos), of a process that reads /proc/uptime.</summary>
    private static readonly string[] Conditions =
    [
        "count == 1", "count != 0", "count > 0", "count < 0", "(int)count >= -1", "(long)count > -1", "count > -1", "count - 2 < 0", "(int)count - 2 < 0", "count + 1 == 2 && count * 3 == 3",
        "count / 0 == 1", "count % 2 == 1", "(long)count / -1 == -1", "-7 / 2 == -3 && (int)count", "(unsigned char)(count + 255) == 0", "(short)(count + 0x7fff) < 0", "(bool)(count << 40)",
        "count << 63", "(int)count << 31 < 0", "count << $cpu == 1", "1 << (count + 62)", "~count == -2", "-count < count", "!count", "!!count == count", "(char)0xff < 0", "'a' == 97",
        "file && buf && pos", "file == 0", "file != NULL", "file > (struct file *)0", "(unsigned long)file >> 47 == 0x1ffff", "file->f_mode & 1", "file->f_inode->i_ino", "file->f_inode->i_mode & 0xf000",
        "file->f_inode->i_sb->s_magic == 0x9fa0", "file->f_path.dentry->d_name.name == \"uptime\"", "file->f_path.dentry->d_name.name != \"uptime\"", "file->f_path.dentry->d_iname == \"uptime\"",
        "file->f_path.dentry->d_iname == \"uptim\"", "file->f_path.dentry->d_iname != \"uptimes\"", "file->f_path.dentry->d_name.len == 6", "file->f_path.dentry->d_parent->d_name.name == \"/\"",
        "file.f_inode == file->f_path.dentry->d_inode", "&file->f_mode == (char *)file + sizeof(int)", "(char *)&file->f_inode - (char *)file == offsetof(struct file, f_inode)",
        "container_of(&file->f_inode, struct file, f_inode) == file", "file[0].f_inode == file->f_inode", "(file + 1) - file == 1", "file->f_op == &proc_reg_file_ops", "file->f_op->llseek == proc_reg_llseek",
        "IS_ERR(file)", "IS_ERR_OR_NULL(file)", "IS_ERR((void *)-5)", "PTR_ERR((void *)-5) == -5", "ntohs((unsigned short)(count + 0xff)) == 1", "ntohl(count) == 0x1000000",
        "current->pid > 1", "current->pid == 1", "current->tgid == current->pid", "current->comm == \"init\"", "current->comm == \"sh\"", "current->comm != \"swapper/0\"", "current->mm->pgd", "current->mm->mm_users.counter > 0",
        "current->group_leader == current", "current->parent->pid == 0", "current->real_parent->comm == \"swapper/0\"", "current->flags & 0x200000", "current->sched_reset_on_fork", "current->in_execve == 0", "current->mm == init_task.mm",
        "current->cred->uid.val == 0", "current->nsproxy->pid_ns_for_children->level == 0", "current->files->fdt->fd[0]", "current->files->fd_array[0] == current->files->fdt->fd[0]", "init_task.comm == \"swapper\"", "init_task.comm == \"swapper/0\"",
        "init_task.pid == 0", "jiffies > 4294000000", "nr_cpu_ids == 1", "current_task == current", "this_cpu(current_task) == current", "$cpu == 0", "$cpu == 1", "$percpu", "system_state == SYSTEM_RUNNING",
        "system_state == SYSTEM_BOOTING", "linux_banner == \"Linux\"", "saved_command_line[0] == 'c'", "ARRAY_SIZE(init_task.comm) == 16", "sizeof(struct file) > 100", "$rdi == (unsigned long)file", "$rsp == $sp && $rsp",
        "*(unsigned long *)$rsp == $pc", "*(unsigned long *)$rsp > 0xffffffff80000000", "$edx == count", "$r15 || $r14 || 1", "*buf || 1", "*(char *)buf >= 0 || 1", "*pos >= 0", "pos == 0 || *pos", "*(char *)0", "((struct file *)0)->f_inode",
        "((struct file *)-14)->f_inode", "&((struct file *)0)->f_inode", "*(char *)0x8000000000000000", "*(long *)0xffffe8ffffffff00", "*(long *)0xffffffffffffffff", "0 && *(char *)0", "1 || *(char *)0", "1 ? count : *(char *)0",
        "count ? 0 : 1", "(count ? 5 : 6u) == 5", "count == 1 ? current->pid : 0", "(count ? -1 : 0u) > 0", "count & 1 | 2 ^ 3", "count > 0 == 1", "(count > 0) + (count > 0) == 2",
        "(count && file) + 1 == 2", "((count + 1) * (count + 2)) - ((count + 3) * (count + 4)) < 0", "*(unsigned char *)&linux_banner == 76", "*(unsigned short *)&linux_banner == 0x694c", "((char *)&linux_banner)[3] == 'u'",
        "((char *)linux_banner)[count] == 'i'", "(&init_task)->comm[count + 1] == 'a'", "init_task.tasks.next != &init_task.tasks", "*(unsigned long *)(((unsigned long)$rsp & ~0xfffUL) + 0x800)",
    ];

    [Fact]
    public async Task The_guest_s_own_answers_are_the_evaluator_s()
    {
        await using var guest = await TracedGuest.BootAsync(TracedGuest.Stock, Loop);
        var bench = await ConditionBench.AtAsync(guest, "vfs_read");
        await CompareAsync(bench, Conditions, maximumRefused: 0);
    }

    private async Task CompareAsync(ConditionBench bench, IEnumerable<string> conditions, int maximumRefused)
    {
        // All stops' answers first: the guest runs a little at each of its own.
        var asked = new List<(string Condition, Answer Expected, (ulong, int) Made)>();
        var refused = new List<string>();
        foreach (var condition in conditions)
        {
            var (made, whyNot) = bench.Compile(condition);
            if (made is { } code)
            {
                asked.Add((condition, await bench.EvaluateAsync(condition), code));
            }
            else
            {
                refused.Add($"{condition}: {whyNot}");
            }
        }

        var wrong = new List<string>();
        foreach (var (condition, expected, made) in asked)
        {
            var actual = await bench.RunAsync(made);
            if (actual != expected)
            {
                wrong.Add($"{condition}: {actual}, not {expected}");
            }
        }

        output.WriteLine($"{asked.Count} asked ({string.Join(", ", asked.CountBy(a => a.Expected))}), {refused.Count} refused");
        refused.ForEach(output.WriteLine);
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        Assert.True(refused.Count <= maximumRefused, string.Join('\n', refused));
    }
}
